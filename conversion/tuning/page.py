"""What was tried, as a page: how many answers a second each way gave, and how long callers waited for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from pages.drawing import Axis, Drawing, Line, Mark, Text
from pages.figures import milliseconds, number
from pages.page import render

from ..arrangements.arrangement import in_words

__all__ = ["tuned_page"]

_WIDTH, _HEIGHT = 620.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 14.0, _WIDTH - 30, 30.0, _HEIGHT - 34


def tuned_page(found: Mapping[str, Any], written: bool) -> str:
    """The page of what `tune` found, in which every figure is; `written` tells whether it is for model.toml."""
    return render(
        __package__,
        "tuned.html",
        found=found,
        written=written,
        in_words=in_words,
        plot_of_all=_plot([run for step in found["steps"] for run in step["runs"]], found),
        plot_of_final=_plot(found["final"], found),
    )


def _plot(runs: Iterable[Mapping[str, Any]], found: Mapping[str, Any]) -> Drawing | None:
    """A curve a run, over its numbers of clients: to the right more waiting, upwards more answers."""
    drawn = [run for run in runs if run["levels"]]
    if not drawn:
        return None
    levels = [level for run in drawn for level in run["levels"]]
    limit = found["p99_ms"]
    across = Axis.over([*(level["p99_ms"] for level in levels), limit], _LEFT, _RIGHT, logarithmic=True)
    up = Axis.over([0.0, *(level["per_s"] for level in levels)], _BOTTOM, _TOP)
    x = across.at(limit)
    lines = [Line("grid", 4, _BOTTOM + 6, _WIDTH, _BOTTOM + 6), Line("limit", x, _TOP - 14, x, _BOTTOM + 6)]
    marks = []
    # The best comes last, so that it lies on top.
    for run in sorted(drawn, key=lambda one: _same(one, found["best"])):
        kind = "chosen" if _same(run, found["best"]) else "hybrid" if _same(run, found["served"]) else "slower"
        points = [(across.at(one["p99_ms"]), up.at(one["per_s"])) for one in run["levels"]]
        lines += [Line(f"curve {kind}", *one, *other) for one, other in pairwise(points)]
        for (at, height), level in zip(points, run["levels"], strict=True):
            told = f"{level['clients']} clients: {number(level['per_s'])} a second, p99 {milliseconds(level['p99_ms'])}"
            marks.append(Mark(kind, at, height, f"{in_words(run)}, {told}"))
    texts = [
        Text("note", x, _TOP - 18, f"the limit, {milliseconds(limit)}", "middle"),
        Text("note", _WIDTH, _HEIGHT - 8, "99 of 100 answers within \N{RIGHTWARDS ARROW}", "end"),
        Text("note", 4, 12, f"{number(max(level['per_s'] for level in levels))} answers a second at most"),
    ]
    label = "Answers a second against the time within which 99 of 100 came, one curve a way to serve"
    return Drawing(_WIDTH, _HEIGHT, label, lines=tuple(lines), marks=tuple(marks), texts=tuple(texts))


def _same(run: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(run[key] == value for key, value in other.items())
