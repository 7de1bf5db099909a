"""Implicit state of sequences: what a run of a sequence puts out as state goes into its next run.

Triton keeps such state for C++ backends only. It still hands every request the initial state as an input, and it sends
all requests of a sequence to one instance, one at a time; so the instance keeps what came out, by correlation id. A
sequence that starts gets the initial state from Triton; one that ends, or that was idle for longer than Triton keeps a
sequence, is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .dtypes import STRING
from .errors import FeatureMissing, RequestRefused, SignatureRefused
from .graph import Graph
from .runner import Arrays, Request, Runner

_BEYOND_CORE = ("use_same_buffer_for_input_output", "use_growable_memory")


@dataclass(frozen=True)
class Step:
    """One request of a sequence. `key` is its correlation id; 0 and "" stand for none: Triton fills idle slots so."""

    request: Request
    key: int | str
    starts: bool
    ends: bool


def read_states(config: Mapping[str, Any], graph: Graph) -> dict[str, str]:
    """Output name to input name of each implicit state of `config`, empty for a model without.

    Raises FeatureMissing for a kind of state that is not supported, SignatureRefused for one that the graph lacks.
    """
    states = {}
    for state in (config.get("sequence_batching") or {}).get("state") or []:
        for flag in _BEYOND_CORE:
            if state.get(flag):
                raise FeatureMissing(config["name"], f"sequence_batching.state: {flag}")
        if state["data_type"] == STRING:
            raise FeatureMissing(config["name"], f"sequence_batching.state: data_type {STRING}")
        for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
            name = state[f"{kind}_name"]
            if name not in tensors or tensors[name].data_type != state["data_type"]:
                raise SignatureRefused(
                    f"unable to load model '{config['name']}', sequence state {kind} '{name}' of {state['data_type']} "
                    f"is not in the model, which has {', '.join(f'{t.name} ({t.data_type})' for t in tensors.values())}"
                )
        states[state["output_name"]] = state["input_name"]
    return states


class SequenceRunner:
    """A Runner whose requests carry state. `idle_s` is how long Triton keeps a sequence that sends nothing."""

    def __init__(self, runner: Runner, states: Mapping[str, str], idle_s: float, clock: Callable[[], float]) -> None:
        self._runner = runner
        self._states = dict(states)
        self._idle_s = idle_s
        self._clock = clock
        self._kept: dict[int | str, tuple[float, Arrays]] = {}

    def run(self, steps: Sequence[Step]) -> list[Arrays | RequestRefused]:
        """An answer for each step, in order. A step that fails leaves its sequence's state as it was."""
        now = self._clock()
        self._forget(now)
        answers = self._runner.run([self._restored(step) for step in steps])
        return [self._keep(step, answer, now) for step, answer in zip(steps, answers, strict=True)]

    def _restored(self, step: Step) -> Request:
        kept = {} if step.starts or step.key not in self._kept else self._kept[step.key][1]
        wanted = dict.fromkeys((*step.request.outputs, *self._states))
        return Request({**step.request.inputs, **kept}, tuple(wanted))

    def _keep(self, step: Step, answer: Arrays | RequestRefused, now: float) -> Arrays | RequestRefused:
        if isinstance(answer, RequestRefused):
            return answer
        if step.ends:
            self._kept.pop(step.key, None)
        elif step.key:
            self._kept[step.key] = (now, {self._states[name]: answer[name].copy() for name in self._states})
        return {name: answer[name] for name in step.request.outputs}

    def _forget(self, now: float) -> None:
        # Twice, so that Triton is sure to have given the sequence up before.
        for key in [key for key, (used, _) in self._kept.items() if now - used > 2 * self._idle_s]:
            del self._kept[key]
