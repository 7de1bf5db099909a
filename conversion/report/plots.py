"""The plots of one release: time, loss, tolerance, memory. Each takes a part of the evidence as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pages.drawing import LETTER, Axis, Bar, Drawing, Line, Mark, Text, shortened
from pages.figures import megabytes, milliseconds, percent, rows, share, times

__all__ = ["loss_plot", "memory_plot", "ratio_plot", "share_bar", "speed_plot"]

_WIDTH = 460.0
# From the original's line to the twin's.
_BAND = 30.0


def speed_plot(batches: Mapping[str, Mapping[str, Any]]) -> Drawing:
    """Original above twin at each batch size: the median on the range, on a logarithmic axis of milliseconds."""
    left, right = 66.0, _WIDTH - 60
    ends = [v for found in batches.values() for who in ("original", "twin") for v in found[f"{who}_range_ms"]]
    axis = Axis.over(ends, left, right, logarithmic=True)
    lines: list[Line] = []
    marks: list[Mark] = []
    texts: list[Text] = []
    top = 8.0
    for size, found in batches.items():
        middle = top + _BAND + 5
        texts.append(Text("name", 0, middle, rows(size)))
        texts.append(Text("figure", _WIDTH, middle, times(found["ratio"]), "end"))
        for band, who in enumerate(("original", "twin")):
            y = top + band * _BAND + 22
            low, high = found[f"{who}_range_ms"]
            value = found[f"{who}_ms"]
            x = axis.at(value)
            lines.append(Line(f"spread {who}", axis.at(low), y, axis.at(high), y))
            marks.append(Mark(who, x, y, f"{who} at {rows(size)}: {_spread(value, low, high)}"))
            texts.append(_beside(who, x, y - 8, f"{who} {milliseconds(value)}", (left, right)))
        top += 2 * _BAND + 14
    grid = [Line("grid", x, 0, x, top) for x in axis.decades()]
    label = "Time of the original and of the twin at each batch size, as in the table below"
    return Drawing(_WIDTH, top, label, lines=(*grid, *lines), marks=tuple(marks), texts=tuple(texts))


def ratio_plot(models: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Drawing:
    """How many times as fast each model's twin is at each batch size: median and quartiles, logarithmic."""
    width, left = 560.0, 220.0
    ends = [v for batches in models.values() for found in batches.values() for v in found["ratio_quartiles"]]
    axis = Axis.over([1.0, *ends], left, width - 62, logarithmic=True)
    lines: list[Line] = []
    marks: list[Mark] = []
    texts: list[Text] = [_beside("note", axis.at(1), 10, "as fast as the original", (left, width))]
    y = 16.0
    for name, batches in models.items():
        texts.append(Text("name", 0, y + 16, shortened(name, left - 80)))
        for size, found in batches.items():
            y += 12
            low, high = found["ratio_quartiles"]
            texts.append(Text("note", left - 14, y + 4, rows(size), "end"))
            lines.append(Line("spread twin", axis.at(low), y, axis.at(high), y))
            told = f"{name} at {rows(size)}: {times(found['ratio'])} ({times(low)} to {times(high)})"
            marks.append(Mark("twin", axis.at(found["ratio"]), y, told))
            texts.append(Text("figure", axis.at(high) + 8, y + 4, times(found["ratio"])))
            y += 8
        y += 12
    one = Line("limit", axis.at(1), 16, axis.at(1), y)
    return Drawing(
        width,
        y,
        "How many times as fast each twin is as its original, as in the table below",
        lines=(one, *lines),
        marks=tuple(marks),
        texts=tuple(texts),
    )


def loss_plot(accuracy: Mapping[str, Any]) -> Drawing:
    """What the twin loses, with its interval, against what it may lose."""
    low, high = accuracy["interval"]
    loss, limit = accuracy["loss"], accuracy["max_loss"]
    axis = Axis.over([low, high, loss, limit, 0.0], 64, _WIDTH - 64)
    y, height = 45.0, 76.0
    at_low, at_high, at_loss = axis.at(low), axis.at(high), axis.at(loss)
    lines = [
        Line("grid", axis.at(0), 20, axis.at(0), height - 16),
        Line("limit", axis.at(limit), 16, axis.at(limit), height - 20),
        Line("spread twin", at_low, y, at_high, y),
        *(Line("spread twin", x, y - 4, x, y + 4) for x in (at_low, at_high)),
    ]
    texts = [
        _beside("note", axis.at(limit), 11, f"limit {percent(limit)}", (0, _WIDTH)),
        _beside("note", axis.at(0), height - 4, "no loss", (0, _WIDTH)),
        Text("note", at_low - 6, y + 4, percent(low), "end"),
        Text("note", at_high + 6, y + 4, percent(high)),
    ]
    label = f"loss {percent(loss)}, interval {percent(low)} to {percent(high)}, limit {percent(limit)}"
    return Drawing(
        _WIDTH, height, label, lines=tuple(lines), marks=(Mark("twin", at_loss, y, label),), texts=tuple(texts)
    )


def memory_plot(memory: Mapping[str, float | None]) -> Drawing | None:
    """What each takes at its peak, in a process of its own; None where one was not measured."""
    found = {who: memory.get(f"{who}_mb") for who in ("original", "twin")}
    values = {who: value for who, value in found.items() if value is not None}
    if len(values) < len(found):
        return None
    most = max(*values.values(), 1e-9)
    bars, texts = [], []
    for place, (who, value) in enumerate(values.items()):
        y = 4.0 + place * 26
        length = round((_WIDTH - 66 - 76) * value / most, 2)
        bars.append(Bar(who, 66, y, length, 18))
        texts.append(Text("name", 0, y + 13, who))
        texts.append(Text("figure", 66 + length + 8, y + 13, megabytes(value)))
    told = ", ".join(f"{who} {megabytes(value)}" for who, value in values.items())
    return Drawing(_WIDTH, 56, f"Peak memory: {told}", bars=tuple(bars), texts=tuple(texts))


def share_bar(part: float | None) -> Drawing | None:
    """The share of the tolerance that was used, in a frame as long as the tolerance."""
    if part is None:
        return None
    width, height = 160.0, 12.0
    used = Axis(0, 1, 0, width).at(part)
    return Drawing(
        width,
        height,
        f"{share(part)} of the tolerance",
        bars=(Bar("frame", 0, 1, width, height - 2), Bar("twin" if part <= 1 else "bad", 0, 1, used, height - 2)),
    )


def _beside(kind: str, x: float, y: float, text: str, within: tuple[float, float]) -> Text:
    """A label over a point, moved where it would leave the plot."""
    left, right = within
    half = len(text) * LETTER / 2
    if x - half < left:
        return Text(kind, left, y, text)
    if x + half > right:
        return Text(kind, right, y, text, "end")
    return Text(kind, x, y, text, "middle")


def _spread(value: float, low: float, high: float) -> str:
    return f"{milliseconds(value)} ({milliseconds(low)} to {milliseconds(high)})"
