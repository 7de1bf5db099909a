"""The candidates of a search: by fate, each with a letter that finds it again in the plots."""

from __future__ import annotations

import math
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..search.candidates import CHOSEN, FATES

__all__ = ["Entry", "Fate", "Time", "by_fate", "timed"]

# As a reader wants them: who won, who might have, who was turned away, who never came.
ORDER = (CHOSEN, "slower", "accuracy", "parity", "refused", "failed", "skipped")


@dataclass(frozen=True)
class Time:
    """The median time of one batch size. `ratio` is None for an early race, which the original took no part in."""

    ms: float
    ratio: float | None


@dataclass(frozen=True)
class Entry:
    """One candidate: its facts as the evidence has them, and what the table makes of them.

    `used` is the largest share of the tolerance over all outputs, `loss` the part of the accuracy that it loses; both
    None where they were not measured, `used` also where an output could not be compared. `times` has a place for each
    batch size of the search.
    """

    letter: str
    facts: Mapping[str, Any]
    used: float | None
    loss: float | None
    times: Mapping[str, Time | None]

    @property
    def kind(self) -> str:
        """How plots draw it: chosen, slower, or bad for one that was turned away."""
        fate = self.facts["fate"]
        return fate if fate in (CHOSEN, "slower") else "bad"


@dataclass(frozen=True)
class Fate:
    """All candidates of one fate, and what that fate means."""

    name: str
    meaning: str
    entries: tuple[Entry, ...]


def by_fate(search: Mapping[str, Any]) -> list[Fate]:
    """Every candidate, in the order of the fates, and in that of the search within each."""
    letters = _letters()
    sizes = [str(size) for size in search["batch_sizes"]]
    found = []
    unknown = {candidate["fate"] for candidate in search["candidates"]} - set(ORDER)
    for fate in (*ORDER, *sorted(unknown)):
        those = [candidate for candidate in search["candidates"] if candidate["fate"] == fate]
        if those:
            entries = tuple(_entry(next(letters), candidate, sizes) for candidate in those)
            found.append(Fate(fate, FATES.get(fate, ""), entries))
    return found


def timed(fates: Sequence[Fate]) -> list[Entry]:
    """Those that were raced."""
    return [entry for fate in fates for entry in fate.entries if any(entry.times.values())]


def _entry(letter: str, candidate: Mapping[str, Any], sizes: Sequence[str]) -> Entry:
    parity, accuracy = candidate["parity"], candidate["accuracy"]
    return Entry(
        letter,
        candidate,
        used=_used(parity or {}),
        loss=None if accuracy is None else accuracy["loss"],
        times={size: _time(candidate, size) for size in sizes},
    )


def _used(parity: Mapping[str, Mapping[str, Any]]) -> float | None:
    shares = [output["worst"] for output in parity.values()]
    return None if None in shares else max(shares, default=None)


def _time(candidate: Mapping[str, Any], size: str) -> Time | None:
    if final := candidate["timings"].get(size):
        return Time(final["ms"], final["ratio"])
    if early := candidate["quick"].get(size):
        return Time(early["ms"], None)
    return None


def _letters() -> Iterator[str]:
    """A, B, … Z, AA, AB, …: no numbers, which a reader would take for figures."""
    for length in range(1, math.ceil(math.log(2**32, 26))):
        yield from _words(length)


def _words(length: int) -> Iterator[str]:
    if length == 0:
        yield ""
        return
    for start in _words(length - 1):
        for letter in string.ascii_uppercase:
            yield start + letter
