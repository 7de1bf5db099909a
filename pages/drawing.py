"""What a plot is made of, and the axes that put figures in their place. Colours are the page's: see style.css.

A plot has no ticks: a tick is a figure that nobody measured. Whatever stands in it is labelled with what it is.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Axis", "Bar", "Drawing", "Line", "Mark", "Text", "shortened"]

# The width of a letter of the plots' type, on average, in units of the drawing; text is laid out by guess.
LETTER = 6.2


@dataclass(frozen=True)
class Line:
    """From one point to another; `kind` is the class that style.css knows."""

    kind: str
    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Bar:
    """A rectangle."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Mark:
    """A point: round, or a diamond for what was refused. `title` is shown to who points at it."""

    kind: str
    x: float
    y: float
    title: str
    diamond: bool = False


@dataclass(frozen=True)
class Text:
    """A label; `anchor` is start, middle or end."""

    kind: str
    x: float
    y: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True)
class Drawing:
    """One plot: its size in units of its own, what it says to who cannot see it, and its parts from back to front."""

    width: float
    height: float
    label: str
    bars: tuple[Bar, ...] = ()
    lines: tuple[Line, ...] = ()
    marks: tuple[Mark, ...] = ()
    texts: tuple[Text, ...] = ()


@dataclass(frozen=True)
class Axis:
    """Maps figures from `low` to `high` to places from `start` to `end`; what lies outside stands at the end.

    On a logarithmic axis nothing and less than nothing stand at the start.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float, logarithmic: bool = False) -> Axis:
        """An axis that holds all `values`; those that are not finite, or have no logarithm, do not stretch it."""
        finite = [v for v in values if math.isfinite(v) and (v >= sys.float_info.min or not logarithmic)] or [1.0]
        low, high = min(finite), max(finite)
        if low == high:
            # One figure alone stands in the middle.
            low, high = (low / 2, high * 2) if logarithmic else (low - 1, high + 1)
        return cls(low, high, start, end, logarithmic)

    def at(self, value: float) -> float:
        """The place of a figure, to a hundredth."""
        if math.isnan(value) or value <= self.low:
            return self.start
        if value >= self.high:
            return self.end
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return round(self.start + (self.end - self.start) * ((value - low) / (high - low)), 2)

    def decades(self) -> list[float]:
        """The places of the powers of ten within a logarithmic axis."""
        powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
        return [self.at(10.0**power) for power in powers]


def shortened(text: str, width: float) -> str:
    """As much of a name as fits a width."""
    most = max(2, int(width / LETTER))
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
