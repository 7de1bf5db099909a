"""Which twin is asked first, by batch size: what the spec says, or what was measured."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise

from .spec import ModelSpec

__all__ = ["Ranges", "as_parameter", "batch_range", "in_words", "preference"]

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


def preference(spec: ModelSpec, ratios: Mapping[int, float]) -> Ranges:
    """The twin that is asked first, from each batch size on.

    `ratios` gives the original's time by the twin's at each measured batch size; above 1 the twin is faster. It counts
    for `prefer = "auto"` alone. Sizes above `max_batch_size` are left out.
    """
    prefer = spec.serving.prefer
    largest = max(spec.serving.max_batch_size, 1)
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
    """Who is faster at each size, the twin where both take as long; outside the measured sizes the nearest one counts.

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
