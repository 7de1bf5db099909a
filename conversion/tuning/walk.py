"""Which arrangements are tried, and in which order: from instances and threads on. Nothing is run here."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..arrangements.arrangement import MOST_INSTANCES, Arrangement, hybrid_counts
from ..arrangements.choice import MARGIN
from ..spec.serving import ServingSpec
from .run import Run, gains, rank

__all__ = ["Room", "Step", "walk"]

_DELAYS_US = (0, 500, 2_000)
_MOST_SHAPES = 12

# Measures arrangements in turn; gives a run for each, in their order.
Measure = Callable[[str, Sequence[Arrangement]], list[Run]]
# Whether the machine can serve all of them at once, as measuring them in turn takes.
Fits = Callable[[Sequence[Arrangement]], bool]


@dataclass(frozen=True)
class Room:
    """What machine, model and spec leave open: cores, and rows of the largest batch, 0 where there are none.

    `serving` is what model.toml says itself: that stays.
    """

    cores: int
    rows: int
    serving: ServingSpec

    def has(self, arrangement: Arrangement) -> bool:
        """Whether it contradicts nothing that model.toml says."""
        return self.nearest(arrangement) == arrangement

    def nearest(self, arrangement: Arrangement) -> Arrangement:
        """The same, but for what model.toml says: there is nothing to be found beside what contradicts it."""
        serving = self.serving
        threads = serving.threads or arrangement.threads
        batching, split, delay = serving.dynamic_batching, serving.split_rows, serving.max_queue_delay_microseconds
        return replace(
            arrangement,
            instances=serving.instances or arrangement.instances,
            threads=threads,
            dynamic_batching=arrangement.dynamic_batching if batching is None else batching,
            joined_rows=serving.max_joined_rows or arrangement.joined_rows,
            queue_delay_us=arrangement.queue_delay_us if delay is None else delay,
            # A single thread has no rows to take from others.
            split_rows=arrangement.split_rows if split is None or threads == 1 else split,
            hybrid_instances=serving.hybrid_instances or arrangement.hybrid_instances,
        )


@dataclass(frozen=True)
class Step:
    """One step of the walk: what was varied, the runs, the best so far among them, and who is the best after it."""

    varied: str
    runs: tuple[Run, ...]
    best: Arrangement


def walk(base: Arrangement, room: Room, p99_ms: float, measure: Measure, fits: Fits = lambda _: True) -> Iterator[Step]:
    """Walk from `base` to the best arrangement, a step at a time; less than thirty runs in all.

    In each step what is new is measured in turn with the best so far: a machine drifts. All that are measured in turn
    are served at once; where not all of them fit, those that do are tried.
    """
    best = base
    for name, others in _STEPS:
        new = [one for one in dict.fromkeys(others(best, room)) if one != best and room.has(one)]
        wanted = _fitting(best, new, fits)
        if len(wanted) == 1:
            continue
        runs = measure(name, wanted)
        best = _winner(runs, p99_ms)
        yield Step(name, tuple(runs), best)


def _fitting(best: Arrangement, new: Sequence[Arrangement], fits: Fits) -> list[Arrangement]:
    """The best so far, and as many of the new ones as fit beside it."""
    for count in range(len(new), 0, -1):
        if fits(wanted := [best, *_spread(new, count)]):
            return wanted
    return [best]


def _spread(all_of_them: Sequence[Arrangement], most: int) -> list[Arrangement]:
    """So many of them at most, from the first to the last in even steps."""
    last = len(all_of_them) - 1
    if last < most:
        return list(all_of_them)
    return [all_of_them[round(number * last / max(1, most - 1))] for number in range(most)]


def _winner(runs: Sequence[Run], p99_ms: float) -> Arrangement:
    """The first, unless another one is clearly better."""
    first, most = runs[0], max(runs, key=lambda run: rank(run, p99_ms))
    found = gains(most, first, p99_ms)
    if found:
        return most.arrangement if statistics.median(found) > 1 + MARGIN else first.arrangement
    # One of the two keeps the limit nowhere.
    return most.arrangement if rank(most, p99_ms) > rank(first, p99_ms) else first.arrangement


def _shapes(best: Arrangement, room: Room) -> list[Arrangement]:
    """Instances and threads that together take half of the cores at least, never more than all; rows split or not.

    Where these are too many, rows are split in some of them alone, from few instances to many.
    """
    powers = [1 << n for n in range(room.cores.bit_length())]
    sizes = sorted({*powers, room.cores})
    # With more of them one server could not hold the ways to join requests beside each other.
    most = max(MOST_INSTANCES, room.serving.instances or 0)
    shapes = [(i, t) for i in sizes for t in sizes if i <= most and room.cores / 2 <= i * t <= room.cores]
    shared = [replace(best, instances=i, threads=t, split_rows=False) for i, t in shapes]
    split = [replace(one, split_rows=True) for one in shared if one.threads > 1 and room.rows > 1]
    shared, split = ([one for one in each if room.has(one)] for each in (shared, split))
    return [*shared, *_spread(split, _MOST_SHAPES - len(shared))]


def _joinings(best: Arrangement, room: Room) -> list[Arrangement]:
    if not room.rows:
        return []
    rows = [rows for rows in (1, 2, 4, 8, 32) if rows <= room.rows]
    by_hybrid = [replace(best, dynamic_batching=False, joined_rows=each) for each in rows]
    return [*by_hybrid, replace(best, dynamic_batching=True, joined_rows=room.rows)]


def _delays(best: Arrangement, room: Room) -> list[Arrangement]:
    # Without company in a call there is nothing to wait for.
    delays = _DELAYS_US if room.rows and best.joined_rows > 1 else _DELAYS_US[:1]
    return [replace(best, queue_delay_us=delay) for delay in delays]


def _hybrids(best: Arrangement, room: Room) -> list[Arrangement]:
    return [replace(best, hybrid_instances=count) for count in (1, *hybrid_counts(room.cores))]


_STEPS = (
    ("instances and threads", _shapes),
    ("joining", _joinings),
    ("waiting", _delays),
    ("processes of the hybrid", _hybrids),
)
