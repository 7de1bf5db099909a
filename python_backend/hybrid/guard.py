"""Is an array finite, and is a twin's answer one that may be handed on, as a whole and row by row?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .settings import OutputSpec, Settings

# For a float's width in bytes: its bits as signed and unsigned integers, and what infinity is when read as such.
_BITS = {
    2: (np.int16, 0x7C00, np.uint16, 0xFC00),
    4: (np.int32, 0x7F80_0000, np.uint32, 0xFF80_0000),
    8: (np.int64, 0x7FF0_0000_0000_0000, np.uint64, 0xFFF0_0000_0000_0000),
}

_FEW = 8192

# How far a value may lie outside its range, as a share of it; where one end is open, of the other end, or of 1.
_SLACK = 1e-5


def all_finite(array: NDArray[Any]) -> bool:
    """Whether a contiguous float array holds no NaN and no infinity.

    A finite sum says yes: nothing that is added to NaN or infinity makes it finite again. Of another sum, which may
    only have overflowed, and of half precision, which is slow to add, the bits tell: IEEE 754 orders floats as their
    bits, so read as signed integers nothing positive exceeds +infinity but NaN, and read as unsigned ones nothing at
    all exceeds -infinity but NaN.
    """
    flat = array.reshape(-1)
    if array.size == 0 or (array.itemsize > 2 and math.isfinite(_sum(flat))):
        return True
    signed, infinity, unsigned, minus_infinity = _BITS[array.itemsize]
    return bool(
        np.maximum.reduce(flat.view(signed)) < infinity and np.maximum.reduce(flat.view(unsigned)) < minus_infinity
    )


def _sum(flat: NDArray[Any]) -> float:
    """A sum of what is in there, whichever comes first: both ways warn of nothing, and begin faster than `sum`."""
    # Of squares, which one instruction adds up. For more of them NumPy's BLAS would wake threads.
    return float(np.vdot(flat, flat) if flat.size <= _FEW else np.einsum("i->", flat))


def first_not_finite(array: NDArray[Any]) -> tuple[int, ...]:
    """The position of the first NaN or infinity in an array that has one."""
    flat = int(np.argmin(np.isfinite(array)))
    return tuple(int(i) for i in np.unravel_index(flat, array.shape))


def broken_output(
    settings: Settings, outputs: Mapping[str, NDArray[Any]], asked: frozenset[str], rows: int
) -> str | None:
    """Why an answer as a whole cannot be handed on: an output missing, of another dtype, or of another shape."""
    for name in asked:
        array = outputs.get(name)
        if array is None:
            return f"output '{name}' is missing"
        expected = settings.outputs[name]
        if array.dtype != expected.dtype:
            return f"output '{name}' has dtype {array.dtype}, expected {expected.dtype}"
        dims = (rows, *expected.dims) if settings.batched else expected.dims
        if array.shape != dims and not _fits(array.shape, dims):
            return f"output '{name}' has shape {list(array.shape)}, expected {list(dims)}"
    return None


def _fits(shape: tuple[int, ...], dims: tuple[int, ...]) -> bool:
    return len(shape) == len(dims) and all(size in (-1, found) for size, found in zip(dims, shape, strict=True))


def bad_rows(
    settings: Settings, outputs: Mapping[str, NDArray[Any]], asked: frozenset[str], rows: int
) -> NDArray[np.bool_] | None:
    """Which rows hold a value that must be finite and is not, or one out of its output's range; None if none does."""
    bad = None
    for name in asked:
        array = outputs[name]
        found = _bad_values(settings.outputs[name], array)
        if found is None:
            continue
        if not settings.batched:
            return np.ones(1, np.bool_)
        if bad is None:
            bad = np.zeros(rows, np.bool_)
        bad |= found.reshape(rows, -1).any(axis=1)
    return bad


def _bad_values(expected: OutputSpec, array: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Which values may not be handed on; None, which is found in one or two looks, where all may."""
    finite = not expected.finite or all_finite(array)
    if expected.range is None:
        return None if finite else ~np.isfinite(array)
    low, high = expected.range
    slack = _slack(low, high)
    if finite and (array.size == 0 or (array.min() >= low - slack and array.max() <= high + slack)):
        return None
    # Not a number is neither below nor above; where it may be, it is in any range.
    found = (array < low - slack) | (array > high + slack)
    if not finite:
        found |= ~np.isfinite(array)
    # Where NaN may be, it spoils the look at the least and the largest value.
    return found if found.any() else None


def _slack(low: float, high: float) -> float:
    """How far outside: the last digits of a sum may carry it over the edge, as those of a softmax over 1."""
    size = high - low
    if not math.isfinite(size):
        size = max([1.0, *(abs(end) for end in (low, high) if math.isfinite(end))])
    return _SLACK * size
