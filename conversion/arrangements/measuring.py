"""What callers meet of a release in each arrangement: all on one real server, in turn.

They ask the hybrid, as callers do: how many requests it joins and how many calls it makes follow the arrangement too.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ReleaseRefused
from ..interface import Facts
from ..measuring.timing import in_turn
from ..release.gpu_config import Traits
from ..release.linking import link_or_copy
from ..release.pbtxt import ROLES, model_configs, write_config
from ..spec import ModelSpec
from .arrangement import Arrangement
from .callers import Callers, Window
from .choice import Met

__all__ = ["Effort", "lay_out", "measure"]

_CODE = Path(__file__).parents[2] / "python_backend" / "hybrid"
_SERVED = ("onnx", "hybrid")
_MOST_CLIENTS = 32
_DEADLINE_MS = 120_000
# What a release has besides, by which it would be held to the place where it was published.
_PUBLISHED = shutil.ignore_patterns("__pycache__", "SHA256SUMS", "config.pbtxt")


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds until `most` have run or `seconds` have passed, but never less than `least`.

    In each round each arrangement is asked for `window_s` by one caller, then for as long by `clients` at once. A round
    with `warm_up_s` goes before and is not counted. However slow a model is, one caller asks `requests` times, and of
    many each asks once.
    """

    clients: int = 8
    window_s: float = 0.7
    warm_up_s: float = 0.2
    requests: int = 5
    least: int = 3
    most: int = 9
    seconds: float = 15.0

    def on(self, cores: int) -> Effort:
        """The same on a machine with so many cores: two clients for each, where that is more, up to 32."""
        return replace(self, clients=max(self.clients, min(2 * cores, _MOST_CLIENTS)))


def lay_out(
    spec: ModelSpec,
    twin: Path,
    inputs: Sequence[Facts],
    outputs: Sequence[Facts],
    *,
    wanted: Sequence[Arrangement],
    scratch: Path,
    traits: Traits,
) -> dict[Arrangement, str]:
    """A repository in `scratch` that serves the files in `twin` in each arrangement; gives the hybrids' names.

    It is the release as it would be published, but for its name and its original, which nobody asks. Hybrids whose
    twins would be served alike ask the same one. Raises OSError.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    # Its original is not there to be compared with. What callers are held to in service is not what is measured: all of
    # these may wait for each other.
    alone = replace(
        spec.serving,
        prefer="onnx",
        fallback_enabled=False,
        shadow=replace(spec.serving.shadow, share=0.0),
        deadline_ms=_DEADLINE_MS,
        primary_budget_ms=0,
        max_pending=1 << 10,
        max_pending_mb=1 << 20,
    )
    names: dict[Arrangement, str] = {}
    for arrangement in wanted:
        name = f"{spec.name}_{arrangement}"
        # With batching the text does not say how many rows the hybrid joins.
        name = f"{name}_joining{arrangement.joined_rows}" if name in names.values() else name
        named = replace(spec, name=name, serving=alone)
        configs = model_configs(named, inputs, outputs, arrangement=arrangement, traits=traits)
        configs["onnx"].name = f"{spec.name}_{arrangement.twin}{ROLES['onnx']}"
        configs["hybrid"].parameters["primary_model"].string_value = configs["onnx"].name
        for role in _SERVED:
            model = scratch / configs[role].name
            if not model.exists():
                source, copy = (twin, link_or_copy) if role == "onnx" else (_CODE, shutil.copyfile)
                shutil.copytree(source, model / "1", copy_function=copy, ignore=_PUBLISHED)
                write_config(configs[role], model / "config.pbtxt")
        names[arrangement] = named.name
    return names


def measure(
    callers: Callers, names: Mapping[Arrangement, str], effort: Effort
) -> tuple[dict[Arrangement, list[Met]], dict[Arrangement, str]]:
    """What callers met of each arrangement, by rounds, and why those are out of it of which a request failed.

    The arrangements take turns, and each round starts with another one. All that held have as many rounds.
    """
    rounds: dict[Arrangement, list[Met]] = {arrangement: [] for arrangement in names}
    failures: dict[Arrangement, str] = {}
    _round(callers, names, failures, effort, seconds=effort.warm_up_s, number=0)
    start, done = time.perf_counter(), 0
    while done < effort.most and (done < effort.least or time.perf_counter() < start + effort.seconds):
        found = _round(callers, names, failures, effort, seconds=effort.window_s, number=done)
        for arrangement, met in found.items():
            rounds[arrangement].append(met)
        done += 1
    return rounds, failures


def _round(
    callers: Callers,
    names: Mapping[Arrangement, str],
    failures: dict[Arrangement, str],
    effort: Effort,
    *,
    seconds: float,
    number: int,
) -> dict[Arrangement, Met]:
    """One turn for each that has not failed; what fails now is added to `failures`."""
    found = {}
    for arrangement in in_turn(list(names), number):
        if arrangement in failures:
            continue
        model = names[arrangement]
        try:
            one = callers.ask(model, 1, seconds=seconds, least=effort.requests)
            many = callers.ask(model, effort.clients, seconds=seconds, least=1)
        except ReleaseRefused as error:
            failures[arrangement] = str(error)
            continue
        found[arrangement] = _met(one, many)
    return found


def _met(one: Window, many: Window) -> Met:
    return Met(
        one_p50_ms=one.percentile(0.5),
        one_p99_ms=one.percentile(0.99),
        per_s=many.per_s,
        p50_ms=many.percentile(0.5),
        p99_ms=many.percentile(0.99),
    )
