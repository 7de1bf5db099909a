"""Plots of the candidates that were timed: how fast against how true, one plot for each batch size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pages.drawing import Axis, Drawing, Line, Mark, Text
from pages.figures import milliseconds, percent, rows, share

from .candidates import Entry, Time

__all__ = ["loss_scatters", "tolerance_scatters"]

_WIDTH, _HEIGHT = 288.0, 210.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 14.0, _WIDTH - 40, 46.0, _HEIGHT - 34
# Letters nearer than this to each other, or to a mark, would be one blot.
_APART = 11.0


@dataclass(frozen=True)
class _Measure:
    """What stands upright: how a candidate's figure is found and told, and where the limit lies."""

    name: str
    of: Callable[[Entry], float | None]
    told: Callable[[float | None], str]
    limit: float
    limit_told: str
    logarithmic: bool


@dataclass(frozen=True)
class _Point:
    entry: Entry
    time: Time
    height: float


def tolerance_scatters(entries: Sequence[Entry], speed: Mapping[str, Mapping[str, Any]]) -> list[Drawing]:
    """Time against the share of the tolerance that was used, both logarithmic."""
    # Shares are of all magnitudes.
    used = _Measure("tolerance used", lambda entry: entry.used, share, 1.0, "the whole tolerance", True)
    return _scatters(entries, speed, used)


def loss_scatters(
    entries: Sequence[Entry], speed: Mapping[str, Mapping[str, Any]], limit: float | None
) -> list[Drawing]:
    """Time against the accuracy that is lost, at the batch sizes where anybody that was timed loses or gains any."""
    if limit is None:
        return []
    # Losses may be nothing, or less.
    lost = _Measure("accuracy lost", lambda entry: entry.loss, percent, limit, f"limit {percent(limit)}", False)
    return _scatters(entries, speed, lost)


def _scatters(entries: Sequence[Entry], speed: Mapping[str, Mapping[str, Any]], measure: _Measure) -> list[Drawing]:
    drawings = []
    for size in dict.fromkeys(size for entry in entries for size in entry.times):
        points = [
            _Point(entry, time, height)
            for entry in entries
            if (time := entry.times[size]) is not None and (height := measure.of(entry)) is not None
        ]
        # A single point has nothing to stand against, and nothing is to be seen of a line of nothings.
        if len(points) > 1 and any(point.height for point in points):
            drawings.append(_scatter(size, points, speed.get(size, {}).get("original_ms"), measure))
    return drawings


def _scatter(size: str, points: Sequence[_Point], original: float | None, measure: _Measure) -> Drawing:
    times = [point.time.ms for point in points]
    across = Axis.over(times if original is None else [*times, original], _LEFT, _RIGHT, logarithmic=True)
    up = Axis.over([*(p.height for p in points), measure.limit], _BOTTOM, _TOP, measure.logarithmic)
    left, limit = _LEFT - 10, up.at(measure.limit)
    lines = [
        Line("grid", left, _BOTTOM + 10, _WIDTH, _BOTTOM + 10),
        Line("limit", left, limit, _WIDTH, limit),
    ]
    texts = [
        Text("title", left, 12, rows(size)),
        Text("note", left, limit - 8, measure.limit_told),
        Text("note", left, _HEIGHT - 4, "\N{LEFTWARDS ARROW} faster"),
    ]
    if original is not None:
        x = across.at(original)
        lines.append(Line("original", x, _TOP - 16, x, _BOTTOM + 10))
        texts.append(Text("note", _WIDTH, _HEIGHT - 4, f"original {milliseconds(original)}", "end"))
    marks = [_mark(point, across, up, measure) for point in points]
    letters = _letters(marks, [point.entry.letter for point in points])
    return Drawing(
        _WIDTH,
        _HEIGHT,
        f"Candidates at {rows(size)}: time against {measure.name}",
        lines=tuple(lines),
        # The chosen one, which comes first, lies on top of the others.
        marks=tuple(reversed(marks)),
        texts=(*texts, *letters),
    )


def _mark(point: _Point, across: Axis, up: Axis, measure: _Measure) -> Mark:
    entry, ms = point.entry, point.time.ms
    kind = entry.kind if point.time.ratio is not None else f"{entry.kind} early"
    title = f"{entry.letter}: {entry.facts['name']}: {milliseconds(ms)}, {measure.told(point.height)}"
    return Mark(kind, across.at(ms), up.at(point.height), title, diamond=entry.kind == "bad")


def _letters(marks: Sequence[Mark], letters: Sequence[str]) -> list[Text]:
    """A letter to the right of each mark, and to the right of all that is in the way there."""
    taken = [(mark.x, mark.y) for mark in marks]
    texts = []
    for mark, letter in sorted(zip(marks, letters, strict=True), key=lambda pair: pair[0].x):
        x = mark.x + _APART
        while any(abs(x - other_x) < _APART and abs(mark.y - other_y) < _APART for other_x, other_y in taken):
            x += 1
        taken.append((x, mark.y))
        texts.append(Text("letter", x, mark.y + 4, letter, "middle"))
    return texts
