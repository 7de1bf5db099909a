"""The plots of a load test. Each takes stages as they stand in build/load.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from pages.drawing import Axis, Bar, Drawing, Line, Mark, Text
from pages.figures import megabytes, milliseconds, number

__all__ = ["KINDS", "answers_plot", "curve_plot", "memory_plot", "users_told", "waiting_plot"]

Stage = Mapping[str, Any]
# The kinds of users, as they are called on the page, and the class of style.css that colours them.
KINDS = {
    "HybridGrpc": ("hybrid", "hybrid"),
    "TwinGrpc": ("ONNX twin", "twin"),
    "OriginalGrpc": ("original", "original"),
    "FastApiHttp": ("FastAPI by hand", "rival"),
    "InProcess": ("ONNX Runtime alone", "alone"),
    "HybridHttp": ("hybrid, HTTP", "hybrid"),
    "TwinHttp": ("ONNX twin, HTTP", "twin"),
    "OriginalHttp": ("original, HTTP", "original"),
}
_WIDTH = 440.0
_HEIGHT = 210.0
# Room for the names at the right of the curves, and for two labels that must not touch.
_NAMES = 146.0
_APART = 15.0


def curve_plot(
    stages: Sequence[Stage], key: str, unit: str, label: str, *, logarithmic: bool = False
) -> Drawing | None:
    """One curve for each kind over the number of users, which is logarithmic; None where nothing is known."""
    known = [stage for stage in stages if stage[key] is not None]
    if not known:
        return None
    right, bottom = _WIDTH - _NAMES, _HEIGHT - 24
    across = Axis.over([stage["users"] for stage in known], 20, right, logarithmic=True)
    values = [float(stage[key]) for stage in known]
    up = Axis.over(values if logarithmic else [0.0, *values], bottom, 16, logarithmic=logarithmic)
    lines = [Line("grid", 8, bottom + 4, right + 8, bottom + 4)]
    marks: list[Mark] = []
    ends: list[tuple[float, str, str]] = []
    for kind in dict.fromkeys(stage["kind"] for stage in known):
        name, colour = KINDS[kind]
        of = sorted((stage for stage in known if stage["kind"] == kind), key=lambda stage: int(stage["users"]))
        points = [(across.at(stage["users"]), up.at(stage[key])) for stage in of]
        lines += [Line(f"curve {colour}", *one, *other) for one, other in pairwise(points)]
        for stage, (x, y) in zip(of, points, strict=True):
            marks.append(Mark(colour, x, y, f"{name}, {users_told(stage)}: {number(float(stage[key]))} {unit}"))
        ends.append((points[-1][1], colour, f"{name} {number(float(of[-1][key]))} {unit}"))
    texts = [Text(colour, right + 12, y + 4, told) for y, colour, told in _spread_out(ends)]
    users = dict.fromkeys(int(stage["users"]) for stage in known)
    texts += [Text("note", across.at(count), _HEIGHT - 4, str(count), "middle") for count in users]
    texts.append(Text("note", _WIDTH, _HEIGHT - 4, "users", "end"))
    return Drawing(_WIDTH, _HEIGHT, label, lines=tuple(lines), marks=tuple(marks), texts=tuple(texts))


def waiting_plot(stages: Sequence[Stage], model: str) -> Drawing | None:
    """How long a request waited in Triton's queue and was computed, on average, in the model `model` of each stage."""
    found = [(stage, stage["server"][model]) for stage in stages if model in stage["server"]]
    if not found:
        return None
    left, right = 170.0, _WIDTH - 130
    most = max(max(one["queue_ms"] + one["compute_ms"], 1e-9) for _, one in found)
    bars, texts = [], []
    for place, (stage, one) in enumerate(found):
        y = 4.0 + place * 24
        queue, compute = (round((right - left) * one[key] / most, 2) for key in ("queue_ms", "compute_ms"))
        bars += [Bar("slower", left, y, queue, 16), Bar("twin", left + queue, y, compute, 16)]
        texts.append(Text("name", 0, y + 12, f"{KINDS[stage['kind']][0]}, {users_told(stage)}"))
        told = f"{milliseconds(one['queue_ms'])} + {milliseconds(one['compute_ms'])}"
        texts.append(Text("figure", left + queue + compute + 8, y + 12, told))
    label = f"Milliseconds in the queue and of computing, a request of {model}"
    return Drawing(_WIDTH, 24.0 * len(found) + 4, label, bars=tuple(bars), texts=tuple(texts))


def answers_plot(stage: Stage) -> Drawing | None:
    """Answers a second by who gave them, second after second."""
    by = {twin: {int(second): count for second, count in of.items()} for twin, of in stage["by_second"].items()}
    answered = {second for of in by.values() for second in of}
    if not answered or max(answered) - min(answered) < 3:
        return None
    # The first and the last second were not whole; in between there may be some without an answer.
    seconds = range(min(answered) + 1, max(answered))
    right, bottom = _WIDTH - _NAMES, _HEIGHT - 24
    across = Axis.over(seconds, 20, right)
    counts = [of.get(second, 0) for of in by.values() for second in seconds]
    up = Axis.over([0, *counts], bottom, 16)
    lines = [Line("grid", 8, bottom, right + 8, bottom)]
    ends = []
    for twin, of in by.items():
        colour = twin if twin == "original" else "twin"
        points = [(across.at(second), up.at(of.get(second, 0))) for second in seconds]
        lines += [Line(f"curve {colour}", *one, *other) for one, other in pairwise(points)]
        ends.append((points[-1][1], colour, f"by {twin or 'itself'}, {sum(of.values())}"))
    texts = [Text(colour, right + 12, y + 4, told) for y, colour, told in _spread_out(ends)]
    texts.append(Text("note", across.end, _HEIGHT - 4, f"{len(seconds)} s", "end"))
    texts.append(Text("note", 20, 10, f"{max(counts)} a second at most"))
    if stage["fault"] and stage["fault"]["killed_at"] is not None:
        x = across.at(stage["fault"]["killed_at"])
        lines.append(Line("limit", x, 16, x, bottom))
        texts.append(Text("note", x, bottom + 14, "killed", "middle"))
    return Drawing(_WIDTH, _HEIGHT, "Answers a second by who gave them", lines=tuple(lines), texts=tuple(texts))


def memory_plot(stage: Stage) -> Drawing | None:
    """The memory of all of the server's processes, second after second."""
    looks = [(float(when), float(amount)) for when, amount in stage["memory"]]
    if len(looks) < 2:
        return None
    right, bottom = _WIDTH - _NAMES, _HEIGHT - 24
    across = Axis.over([when for when, _ in looks], 20, right)
    most = max(amount for _, amount in looks)
    up = Axis.over([0.0, most], bottom, 16)
    points = [(across.at(when), up.at(amount)) for when, amount in looks]
    lines = [Line("grid", 8, bottom, right + 8, bottom), *(Line("curve hybrid", *a, *b) for a, b in pairwise(points))]
    texts = [
        Text("note", 20, 10, f"{megabytes(most)} at most"),
        Text("figure", right + 12, points[-1][1] + 4, megabytes(looks[-1][1])),
        Text("note", across.end, _HEIGHT - 4, f"{number(round(looks[-1][0] - looks[0][0]))} s", "end"),
    ]
    return Drawing(_WIDTH, _HEIGHT, "Memory of the server's processes", lines=tuple(lines), texts=tuple(texts))


def _spread_out(ends: list[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """Labels moved down where they would stand on one another."""
    placed: list[tuple[float, str, str]] = []
    for y, colour, told in sorted(ends):
        placed.append((max(y, placed[-1][0] + _APART) if placed else y, colour, told))
    return placed


def users_told(stage: Stage) -> str:
    """How many users there were: "1 user", "8 users"."""
    return f"{stage['users']} user{'s' if stage['users'] > 1 else ''}"
