"""How long several models take for the same batch: side by side, in turn, in one process."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

__all__ = ["Patience", "Race", "Timing", "in_turn", "race"]

_Item = TypeVar("_Item")

# A call that takes longer is warmed up once, and its race is not run again.
_SLOW_S = 1.0
_WAIT_S = 2.0
# Between two calls: threads of one model that still spin for work would take processors from the next one.
_PAUSE_S = 0.002
# The part of the processors that others may take without a race being run again.
_QUIET = 0.1


@dataclass(frozen=True)
class Race:
    """How to time: rounds until `most` have run or `seconds` have passed, but never less than `least`.

    A race that other processes disturbed is run again, up to `attempts` times; the least disturbed one counts.
    """

    least: int = 5
    most: int = 30
    seconds: float = 6.0
    attempts: int = 3


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one model over the rounds of a race: median, least and most.

    `ratio` is the median over the rounds of the first model's time to this one's (above 1: faster than the first), with
    its quartiles: rounds are compared one by one, since a machine drifts. `others` is the part of the machine's
    processor time, 0 to 1, that other processes took meanwhile. `gain` is the first's lower quartile of times over this
    one's, of what each takes when little disturbs it: candidates are chosen by it.
    """

    rounds: int
    ms: float
    range_ms: tuple[float, float]
    ratio: float
    ratio_quartiles: tuple[float, float]
    others: float = 0.0
    gain: float = 1.0


@dataclass
class Patience:
    """Whether a disturbed race is worth running again: on a machine that is busy for good it is not.

    It is lost by two races in a row that were disturbed in every attempt, and found again by a quiet one.
    """

    disturbed: int = 0

    @property
    def lost(self) -> bool:
        """Whether one attempt has to do."""
        return self.disturbed > 1


def race(runners: Mapping[str, Callable[[], object]], how: Race, patience: Patience | None = None) -> dict[str, Timing]:
    """Time all `runners`, one after the other in every round, each round starting with another one.

    Races that share `patience` learn from each other whether to wait for a quiet moment.
    """
    patience = patience or Patience()
    slow = _warm_up(runners)
    best: tuple[float, dict[str, list[float]]] | None = None
    for attempt in range(1 if patience.lost else how.attempts):
        if attempt:
            time.sleep(_WAIT_S)
        before = _processor()
        times = _rounds(runners, how)
        others = _others(before, _processor())
        if best is None or others < best[0]:
            best = others, times
        if others <= _QUIET or slow:
            break
    assert best is not None
    others, times = best
    patience.disturbed = patience.disturbed + 1 if others > _QUIET else 0
    first = next(iter(times.values()))
    return {name: _timing(first, own, others) for name, own in times.items()}


def in_turn(items: Sequence[_Item], number: int) -> list[_Item]:
    """All of them in the order of round `number`: each round starts with another one."""
    first = number % len(items)
    return [*items[first:], *items[:first]]


def _warm_up(runners: Mapping[str, Callable[[], object]]) -> bool:
    """Run each a few times; gives whether one of them is so slow that once must do."""
    slow = False
    for call in runners.values():
        start = time.perf_counter()
        call()
        if time.perf_counter() - start > _SLOW_S:
            slow = True
        else:
            call()
    return slow


def _rounds(runners: Mapping[str, Callable[[], object]], how: Race) -> dict[str, list[float]]:
    names = list(runners)
    times: dict[str, list[float]] = {name: [] for name in names}
    end = time.perf_counter() + how.seconds
    rounds = 0
    while rounds < how.most and (rounds < how.least or time.perf_counter() < end):
        for name in in_turn(names, rounds):
            time.sleep(_PAUSE_S)
            start = time.perf_counter()
            runners[name]()
            times[name].append((time.perf_counter() - start) * 1e3)
        rounds += 1
    return times


def _processor(stat: Path = Path("/proc/stat")) -> tuple[float, float, float]:
    """Seconds of processor time so far: of the whole machine, of all that was busy, and our own."""
    fields = [int(field) / os.sysconf("SC_CLK_TCK") for field in stat.read_text().splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    own = os.times()
    return sum(fields), sum(fields) - idle, own.user + own.system


def _others(before: tuple[float, float, float], after: tuple[float, float, float]) -> float:
    total, busy, own = (b - a for a, b in zip(before, after, strict=True))
    return max(0.0, (busy - own) / total) if total else 0.0


def _timing(first: list[float], own: list[float], others: float) -> Timing:
    ratios = [a / b for a, b in zip(first, own, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4, method="inclusive")
    return Timing(
        len(own),
        statistics.median(own),
        (min(own), max(own)),
        statistics.median(ratios),
        (quartiles[0], quartiles[2]),
        others,
        _lower_quartile(first) / _lower_quartile(own),
    )


def _lower_quartile(times: list[float]) -> float:
    return statistics.quantiles(times, n=4, method="inclusive")[0]
