"""How long several models take for the same batch: side by side, in turn, in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Race", "Timing", "race"]

_WARM_UP = 2
# Between two calls: threads of one model that still spin for work would take processors from the next one.
_PAUSE_S = 0.002


@dataclass(frozen=True)
class Race:
    """How to time: rounds until `most` have run or `seconds` have passed, but never less than `least`."""

    least: int = 5
    most: int = 30
    seconds: float = 6.0


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one model over the rounds of a race: median, least and most.

    `ratio` is the median over the rounds of the first model's time to this one's (above 1: faster than the first), with
    its quartiles: rounds are compared one by one, since a machine drifts.
    """

    rounds: int
    ms: float
    range_ms: tuple[float, float]
    ratio: float
    ratio_quartiles: tuple[float, float]


def race(runners: Mapping[str, Callable[[], object]], how: Race) -> dict[str, Timing]:
    """Time all `runners`, one after the other in every round, each round starting with another one."""
    for call in runners.values():
        for _ in range(_WARM_UP):
            call()
    names = list(runners)
    times: dict[str, list[float]] = {name: [] for name in names}
    end = time.perf_counter() + how.seconds
    rounds = 0
    while rounds < how.most and (rounds < how.least or time.perf_counter() < end):
        turn = rounds % len(names)
        for name in (*names[turn:], *names[:turn]):
            time.sleep(_PAUSE_S)
            start = time.perf_counter()
            runners[name]()
            times[name].append((time.perf_counter() - start) * 1e3)
        rounds += 1
    return {name: _timing(times[names[0]], times[name]) for name in names}


def _timing(first: list[float], own: list[float]) -> Timing:
    ratios = [a / b for a, b in zip(first, own, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4, method="inclusive")
    return Timing(
        len(own),
        statistics.median(own),
        (min(own), max(own)),
        statistics.median(ratios),
        (quartiles[0], quartiles[2]),
    )
