"""Arrangements of a release under load: each step on one real server, in turn, behind the hybrid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..arrangements.arrangement import Arrangement, in_words
from ..arrangements.callers import Callers, Window, callers
from ..arrangements.measuring import lay_out
from ..arrangements.settling import Machine, first_row, refuse_too_much, too_much
from ..errors import ReleaseRefused
from ..interface import Facts
from ..measuring.timing import in_turn
from ..release.golden import GOLDEN
from ..release.gpu_config import Traits
from ..spec import ModelSpec
from .run import Run

__all__ = ["Load", "Subject", "Trial"]

_WARM_UP_S = 0.3


@dataclass(frozen=True)
class Load:
    """Numbers of clients that ask at once, each for `window_s` seconds, `rounds` times."""

    clients: tuple[int, ...]
    window_s: float
    rounds: int


@dataclass(frozen=True)
class Subject:
    """The release: its spec, the folders of its twin and of its hybrid, and what goes in and out."""

    spec: ModelSpec
    twin: Path
    hybrid: Path
    inputs: tuple[Facts, ...]
    outputs: tuple[Facts, ...]
    traits: Traits


class Trial:
    """Puts arrangements under load. `runs` counts them; `scratch` is a folder of its own."""

    def __init__(
        self, subject: Subject, load: Load, machine: Machine, scratch: Path, report: Callable[[str], None]
    ) -> None:
        self._subject = subject
        self._load = load
        self._machine = machine
        self._scratch = scratch
        self._report = report
        self.runs = 0

    def fits(self, wanted: Sequence[Arrangement]) -> bool:
        """Whether this machine can serve all of them at once."""
        return not too_much(self._subject.twin, wanted, self._machine.free())

    def measure(self, name: str, wanted: Sequence[Arrangement], rounds: int = 0) -> list[Run]:
        """A run for each, in their order; they take turns in every round.

        Raises RehearsalImpossible, ReleaseRefused.
        """
        subject, load = self._subject, self._load
        rounds = rounds or load.rounds
        self.runs += len(wanted)
        self._report(f"{name}: {len(wanted)} ways, about {self._seconds(len(wanted), rounds):.0f} s")
        refuse_too_much(subject.twin, wanted, self._machine.free())
        names = lay_out(
            subject.spec,
            subject.twin,
            subject.inputs,
            subject.outputs,
            wanted=list(wanted),
            scratch=self._scratch,
            traits=subject.traits,
        )
        row = first_row(subject.hybrid / GOLDEN, subject.inputs, batched=subject.spec.serving.max_batch_size > 0)
        runs = [Run(one) for one in wanted]
        most = max(load.clients)
        with self._machine.serve(self._scratch) as server, callers(server.address, most, row) as asking:
            for run in runs:
                _window(asking, names, run, most, _WARM_UP_S)
            for number in range(rounds):
                for run in in_turn(runs, number):
                    for clients in load.clients:
                        if window := _window(asking, names, run, clients, load.window_s):
                            run.windows.setdefault(clients, []).append(window)
        for run in runs:
            self._report(f"  {in_words(asdict(run.arrangement))}: {_told(run)}")
        return runs

    def _seconds(self, ways: int, rounds: int) -> float:
        return ways * (rounds * len(self._load.clients) * self._load.window_s + 1.5) + 4


def _window(asking: Callers, names: Mapping[Arrangement, str], run: Run, clients: int, seconds: float) -> Window | None:
    """What so many clients meet; None once a request has failed."""
    if run.failure:
        return None
    try:
        return asking.ask(names[run.arrangement], clients, seconds=seconds, least=1)
    except ReleaseRefused as error:
        run.failure = str(error)
        return None


def _told(run: Run) -> str:
    if run.failure:
        return f"a request failed: {run.failure}"
    return ", ".join(f"{level.clients} clients {level.per_s:.0f}/s p99 {level.p99_ms:.0f} ms" for level in run.levels)
