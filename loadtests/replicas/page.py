"""build/replicas.json as a page."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from pages.drawing import Axis, Drawing, Line, Mark, Text
from pages.figures import milliseconds, number
from pages.page import render

__all__ = ["replicas_page"]

_WIDTH, _HEIGHT = 520.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 60.0, _WIDTH - 60, 34.0, _HEIGHT - 36


def replicas_page(found: Mapping[str, Any]) -> str:
    """The whole page; every figure on it is in `found`."""
    return render(__package__, "replicas.html", found=found, plot_of_answers=_plot(found))


def _plot(found: Mapping[str, Any]) -> Drawing:
    """Answers a second over the number of replicas: the median of the rounds, and each round."""
    of = {int(replicas): one for replicas, one in found["replicas"].items()}
    across = Axis.over(of, _LEFT, _RIGHT)
    up = Axis.over([0.0, *(one["per_s"] for each in of.values() for one in each["rounds"])], _BOTTOM, _TOP)
    points = [(across.at(replicas), up.at(one["per_s"])) for replicas, one in of.items()]
    lines = [Line("grid", 4, _BOTTOM + 6, _WIDTH, _BOTTOM + 6)]
    lines += [Line("curve hybrid", *one, *other) for one, other in pairwise(points)]
    marks, texts = [], []
    for (replicas, one), (x, y) in zip(of.items(), points, strict=True):
        marks += [
            Mark("slower", x, up.at(each["per_s"]), f"one round: {number(each['per_s'])} a second")
            for each in one["rounds"]
        ]
        told = f"{replicas}: {number(one['per_s'])} a second, p99 {milliseconds(one['p99_ms'])}"
        marks.append(Mark("hybrid", x, y, told))
        texts.append(Text("hybrid", x, y - 12, number(one["per_s"]), "middle"))
        texts.append(Text("note", x, _HEIGHT - 10, str(replicas), "middle"))
    texts.append(Text("note", _WIDTH, _HEIGHT - 10, "replicas", "end"))
    label = f"Answers a second to {found['clients']} clients over the number of replicas behind HAProxy"
    return Drawing(_WIDTH, _HEIGHT, label, lines=tuple(lines), marks=tuple(marks), texts=tuple(texts))
