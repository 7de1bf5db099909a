"""How long twin and original take for one row: side by side, in turn, in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Timing", "time_pair"]

_WARM_UP = 3
_ROUNDS = 15
# A slow original must not hold up a conversion: fewer rounds then, never less than three.
_SECONDS = 10.0


@dataclass(frozen=True)
class Timing:
    """Medians over `rounds` interleaved runs, in milliseconds, with the fastest and the slowest run of each."""

    rounds: int
    threads: int
    original_ms: float
    original_range_ms: tuple[float, float]
    twin_ms: float
    twin_range_ms: tuple[float, float]


def time_pair(original: Callable[[], object], twin: Callable[[], object], threads: int) -> Timing:
    """Time both after a warm-up, one after the other in every round."""
    for _ in range(_WARM_UP):
        original()
        twin()
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + _SECONDS
    while len(times[0]) < _ROUNDS and (len(times[0]) < 3 or time.perf_counter() < end):
        for call, found in zip((original, twin), times, strict=True):
            start = time.perf_counter()
            call()
            found.append((time.perf_counter() - start) * 1e3)
    first, second = times
    return Timing(
        len(first),
        threads,
        statistics.median(first),
        (min(first), max(first)),
        statistics.median(second),
        (min(second), max(second)),
    )
