"""Which twin is asked first, by batch size: what the spec says, or what was measured."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from . import ModelSpec

__all__ = ["Ranges", "as_parameter", "asked_first", "at_best", "batch_range", "in_words", "preference"]

# (first batch size, twin) in ascending order, from 1 on: each twin is asked first up to the next range's first size.
Ranges = tuple[tuple[int, str], ...]

_RANGE = re.compile(r"([1-9][0-9]{0,8})(-([1-9][0-9]{0,8})?)?")
_ONNX, _ORIGINAL = "onnx", "original"


def batch_range(text: str) -> range:
    """The batch sizes that "1", "2-8" or "9-" names; an empty range where the text names none."""
    match = _RANGE.fullmatch(text)
    if match is None:
        return range(0)
    first, open_end, last = match.groups()
    if last:
        return range(int(first), int(last) + 1)
    return range(int(first), sys.maxsize if open_end else int(first) + 1)


def at_best(timings: Mapping[str, Mapping[str, Any]]) -> dict[int, float]:
    """How many times as fast as the original the twin can be held to be at each batch size of a release's timings.

    It is the upper quartile of the rounds: where even that is below 1 the original is clearly faster, and not only by
    what else the machine had to do.
    """
    return {int(size): timing["ratio_quartiles"][1] for size, timing in timings.items()}


def preference(spec: ModelSpec, ratios: Mapping[int, float]) -> Ranges:
    """The twin that is asked first, from each batch size on.

    `ratios` is what `at_best` gives: the original is asked first where it is below 1. It counts for `prefer = "auto"`
    alone. Sizes above `max_batch_size` are left out.
    """
    prefer = spec.serving.prefer
    largest = spec.serving.most_rows
    if isinstance(prefer, dict):
        return _merged(_named(prefer), largest)
    return _merged(_measured(ratios) if prefer == "auto" else [(1, prefer)], largest)


def _named(table: Mapping[str, str]) -> Sequence[tuple[int, str]]:
    """The ranges of a table of the spec; what it leaves out is the ONNX twin's."""
    ranges: list[tuple[int, str]] = []
    left_out = 1
    for sizes, twin in sorted(((batch_range(text), twin) for text, twin in table.items()), key=_first):
        ranges += [(left_out, _ONNX)] if left_out < sizes.start else []
        ranges.append((sizes.start, twin))
        left_out = sizes.stop
    return [*ranges, (left_out, _ONNX)]


def _first(named: tuple[range, str]) -> int:
    return named[0].start


def _measured(ratios: Mapping[int, float]) -> Sequence[tuple[int, str]]:
    """The original where it is clearly faster, the twin elsewhere; outside the measured sizes the nearest one counts.

    Batch sizes are measured in steps of a factor, so the border between two of them is their geometric middle.
    """
    sizes = sorted(ratios)
    borders = [math.isqrt(low * high - 1) + 1 for low, high in pairwise(sizes)]
    faster = [_ORIGINAL if ratios[size] < 1 else _ONNX for size in sizes] or [_ONNX]
    return list(zip((1, *borders), faster, strict=True))


def _merged(ranges: Sequence[tuple[int, str]], largest: int) -> Ranges:
    merged: list[tuple[int, str]] = []
    for first, twin in ranges:
        if first <= largest and not (merged and merged[-1][1] == twin):
            merged.append((first, twin))
    return tuple(merged)


def as_parameter(ranges: Ranges) -> str:
    """The hybrid's parameter `prefer`: "onnx", or "1:original,9:onnx"."""
    if len(ranges) == 1:
        return ranges[0][1]
    return ",".join(f"{first}:{twin}" for first, twin in ranges)


def asked_first(parameter: str, rows: int) -> str:
    """The twin that the hybrid's parameter `prefer` names for a request of so many rows; "" where it is not said."""
    twin = ""
    for part in parameter.split(","):
        first, _, named = part.strip().rpartition(":")
        if named in (_ONNX, _ORIGINAL) and (not first or int(first) <= rows):
            twin = named
    return twin


def in_words(ranges: Ranges) -> str:
    """For people: "onnx", or "original up to 8 rows, onnx from 9 on"."""
    if len(ranges) == 1:
        return ranges[0][1]
    told = []
    for (first, twin), (following, _) in pairwise(ranges):
        last = following - 1
        if first == 1:
            told.append(f"{twin} up to {last} {'row' if last == 1 else 'rows'}")
        else:
            told.append(f"{twin} at {first}" if first == last else f"{twin} from {first} to {last}")
    first, twin = ranges[-1]
    return ", ".join((*told, f"{twin} from {first} on"))
