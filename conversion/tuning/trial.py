"""Arrangements of a release under load: each step on one real server, in turn, behind the hybrid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..arrangements.arrangement import Arrangement, in_words
from ..arrangements.callers import callers
from ..arrangements.measuring import lay_out
from ..arrangements.settling import Machine, first_row, refuse_too_much
from ..errors import ReleaseRefused
from ..golden import GOLDEN
from ..interface import Facts
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

    def measure(self, name: str, wanted: Sequence[Arrangement], rounds: int = 0) -> list[Run]:
        """A run for each, in their order; they take turns in every round.

        Raises RehearsalImpossible, ReleaseRefused.
        """
        subject, load = self._subject, self._load
        rounds = rounds or load.rounds
        self.runs += len(wanted)
        self._report(f"{name}: {len(wanted)} ways, about {self._seconds(len(wanted), rounds):.0f} s")
        refuse_too_much(subject.twin, sum(one.instances for one in wanted))
        names = lay_out(
            subject.spec, subject.twin, subject.inputs, subject.outputs, wanted=list(wanted), scratch=self._scratch
        )
        row = first_row(subject.hybrid / GOLDEN, subject.inputs, batched=subject.spec.serving.max_batch_size > 0)
        runs = [Run(one) for one in wanted]
        most = max(load.clients)
        with self._machine.serve(self._scratch) as server, callers(server.address, most, row) as asking:
            for run in runs:
                asking.ask(names[run.arrangement], most, seconds=_WARM_UP_S, least=1)
            for number in range(rounds):
                turn = number % len(runs)
                for run in (*runs[turn:], *runs[:turn]):
                    if run.failure:
                        continue
                    try:
                        for clients in load.clients:
                            window = asking.ask(names[run.arrangement], clients, seconds=load.window_s, least=1)
                            run.windows.setdefault(clients, []).append(window)
                    except ReleaseRefused as error:
                        run.failure = str(error)
        for run in runs:
            self._report(f"  {in_words(asdict(run.arrangement))}: {_told(run)}")
        return runs

    def _seconds(self, ways: int, rounds: int) -> float:
        return ways * (rounds * len(self._load.clients) * self._load.window_s + 1.5) + 4


def _told(run: Run) -> str:
    if run.failure:
        return f"a request failed: {run.failure}"
    return ", ".join(f"{level.clients} clients {level.per_s:.0f}/s p99 {level.p99_ms:.0f} ms" for level in run.levels)
