"""What one arrangement gave at several numbers of clients, and what of it counts under a limit. Figures alone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..arrangements.arrangement import Arrangement
from ..arrangements.callers import Window
from ..arrangements.choice import quartiles

__all__ = ["Level", "Run", "best_level", "gains", "rank", "spread"]


@dataclass(frozen=True)
class Level:
    """Medians over the rounds at one number of clients; the percentiles are of all rounds together, in milliseconds."""

    clients: int
    per_s: float
    p50_ms: float
    p99_ms: float


@dataclass
class Run:
    """One arrangement under load: what callers met, by their number and by rounds; `failure` where a request failed."""

    arrangement: Arrangement
    windows: dict[int, list[Window]] = field(default_factory=dict)
    failure: str = ""

    @property
    def levels(self) -> list[Level]:
        """The figures, the fewest clients first."""
        return [_level(clients, windows) for clients, windows in sorted(self.windows.items())]

    def per_s(self, clients: int) -> list[float]:
        """Answers a second in each round."""
        return [window.per_s for window in self.windows[clients]]


def best_level(run: Run, p99_ms: float) -> Level | None:
    """The number of clients that it answers most of in a second, within the limit; None where it keeps it nowhere."""
    kept = [level for level in run.levels if level.p99_ms <= p99_ms]
    return max(kept, key=lambda level: level.per_s, default=None) if not run.failure else None


def rank(run: Run, p99_ms: float) -> tuple[float, float]:
    """The more the better: answers a second within the limit; without any, whoever comes nearest to it."""
    level = best_level(run, p99_ms)
    if level is not None:
        return level.per_s, 0.0
    return 0.0, -min((level.p99_ms for level in run.levels), default=math.inf) if not run.failure else -math.inf


def gains(run: Run, base: Run, p99_ms: float) -> list[float]:
    """How many times the answers of `base`, each at its best number of clients within the limit, round by round.

    Empty where one of the two keeps the limit nowhere.
    """
    own, its = best_level(run, p99_ms), best_level(base, p99_ms)
    if own is None or its is None:
        return []
    return [new / old for new, old in zip(run.per_s(own.clients), base.per_s(its.clients), strict=True)]


def _level(clients: int, windows: Sequence[Window]) -> Level:
    together = Window(tuple(ms for window in windows for ms in window.ms), sum(window.seconds for window in windows))
    per_s = statistics.median(window.per_s for window in windows)
    return Level(clients, per_s, together.percentile(0.5), together.percentile(0.99))


def spread(values: Sequence[float]) -> Mapping[str, float] | None:
    """Median and quartiles; None of nothing."""
    if not values:
        return None
    low, high = quartiles(values)
    return {"median": statistics.median(values), "low": low, "high": high}
