"""Rows that differ: where all rows of a batch are one, nothing shows what a row takes from the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..interface import Facts
from .samples import Batch

__all__ = ["rows_apart"]


def rows_apart(inputs: Sequence[Facts], batch: Batch) -> Batch | None:
    """`batch` with rows that differ in each input in which all were the same; None where it has no such input.

    So it is with a single sample that is taken again and again, and where one input is the same for all samples. The
    first row stays. Others have smaller floats, within the range of the spec, or the same values in turned order: any
    of those that a sample holds is a valid one.
    """
    changed = {fact.name: _apart(fact, batch[fact.name]) for fact in inputs if _alike(batch[fact.name])}
    return batch | changed if changed else None


def _alike(array: NDArray[Any]) -> bool:
    return len(array) > 1 and bool((array == array[:1]).all())


def _apart(fact: Facts, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind != "f":
        return np.stack([np.roll(row, number) for number, row in enumerate(array)])
    shares = (np.arange(len(array)) / len(array)).reshape(-1, *[1] * (array.ndim - 1))
    # Zeros cannot get smaller.
    values: NDArray[Any] = (array * (1 - shares) if array.any() else array + shares).astype(array.dtype)
    return values if fact.range is None else values.clip(*fact.range)
