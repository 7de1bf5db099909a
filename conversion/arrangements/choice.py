"""Which arrangement is the best, out of what callers met. Figures alone: nothing is run here."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .arrangement import Arrangement

__all__ = ["MARGIN", "Figures", "Met", "best", "quartiles", "summarised"]

# By so much another arrangement has to be better than the safe one.
MARGIN = 0.05


@dataclass(frozen=True)
class Met:
    """What callers met in one round: milliseconds of a request (median, 99th percentile) and requests a second.

    `one_*` is of one caller, the others are of many at once.
    """

    one_p50_ms: float
    one_p99_ms: float
    per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Figures:
    """Medians over the rounds of one arrangement; None in all of them where a request failed, for the reason `failure`.

    `gain` tells how many times as good it is as the first arrangement that held: the median over the rounds, with its
    quartiles, of the geometric mean of three ratios: one caller's median time, and the requests a second and the 99th
    percentile of many.
    """

    arrangement: Arrangement
    rounds: int
    met: Met | None
    gain: float | None
    gain_quartiles: tuple[float, float] | None
    failure: str


def summarised(rounds: Mapping[Arrangement, Sequence[Met]], failures: Mapping[Arrangement, str]) -> tuple[Figures, ...]:
    """The figures of each arrangement in the order of `rounds`; those in `failures` have none.

    Arrangements are compared round by round, since a machine drifts: all have the same rounds.
    """
    first = next((met for arrangement, met in rounds.items() if arrangement not in failures), ())
    found = []
    for arrangement, met in rounds.items():
        if arrangement in failures:
            found.append(Figures(arrangement, len(met), None, None, None, failures[arrangement]))
            continue
        gains = [_gain(base, own) for base, own in zip(first, met, strict=True)]
        found.append(Figures(arrangement, len(met), _medians(met), statistics.median(gains), quartiles(gains), ""))
    return tuple(found)


def best(figures: Sequence[Figures]) -> Arrangement | None:
    """The first one that held, unless others are clearly better; None where none held.

    Clearly is by more than the margin in the median round, and better at all in three rounds of four: a machine that
    others use gives one lucky round to anybody. Of those that are, it is the first that the best of them is not better
    than by more than the margin: what nobody can tell apart is not decided by luck. Whether rows are split is decided
    between those two alone.
    """
    held = [one for one in figures if one.gain is not None]
    if not held:
        return None
    better = [(one.arrangement, one.gain) for one in held if one.gain is not None and _clearly(one)]
    enough = max((gain for _, gain in better), default=0.0) / (1 + MARGIN)
    found = next((arrangement for arrangement, gain in better if gain >= enough), held[0].arrangement)
    return _split_or_not(found, {one.arrangement: one.met for one in held if one.met is not None})


def _split_or_not(found: Arrangement, met: Mapping[Arrangement, Met]) -> Arrangement:
    """The one with split rows, unless the other is better by more than the margin, or was measured alone.

    It is measured with nothing else at work. Beside others, threads that share a row wait for each other; those that
    have rows of their own do not.
    """
    split, shared = replace(found, split_rows=True), replace(found, split_rows=False)
    if split not in met or shared not in met:
        return found
    return split if _gain(met[shared], met[split]) > 1 / (1 + MARGIN) else shared


def _clearly(one: Figures) -> bool:
    return (
        one.gain is not None and one.gain_quartiles is not None and one.gain > 1 + MARGIN and one.gain_quartiles[0] > 1
    )


def _gain(base: Met, own: Met) -> float:
    return statistics.geometric_mean(
        (base.one_p50_ms / own.one_p50_ms, own.per_s / base.per_s, base.p99_ms / own.p99_ms)
    )


def _medians(rounds: Sequence[Met]) -> Met:
    return Met(
        one_p50_ms=statistics.median(met.one_p50_ms for met in rounds),
        one_p99_ms=statistics.median(met.one_p99_ms for met in rounds),
        per_s=statistics.median(met.per_s for met in rounds),
        p50_ms=statistics.median(met.p50_ms for met in rounds),
        p99_ms=statistics.median(met.p99_ms for met in rounds),
    )


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The lower and the upper one; of a single value both are that."""
    if len(values) == 1:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high
