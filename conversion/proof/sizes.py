"""Samples in other sizes: a dimension that is said to be dynamic has to be proved at more sizes than one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..interface import BATCH, Facts
from .samples import Batch
from .subject import Subject

__all__ = ["other_sizes", "resized", "sizes_of"]


def other_sizes(subject: Subject, sample: Batch) -> Batch | None:
    """`sample` at half the size of every dynamic dimension in which the samples of parity are all alike; None of none.

    Spec's own samples have one size as a rule, and a graph that holds at that one may hold at no other.
    """
    dynamic = sizes_of(subject.inputs, sample).keys() - ({BATCH} if subject.batched else set())
    if not dynamic:
        return None
    numbers = range(len(subject.spec.batch_sizes) if subject.batched else 2)
    seen = [sizes_of(subject.inputs, subject.make(1, number)) for number in numbers]
    alike = {
        name: max(1, size // 2) if size != 1 else 2
        for name, size in seen[0].items()
        if name in dynamic and {sizes[name] for sizes in seen} == {size} and size
    }
    return resized(subject.inputs, sample, alike) if alike else None


def sizes_of(inputs: tuple[Facts, ...], batch: Batch) -> dict[str, int]:
    """The size of each dynamic dimension in a batch, by its name."""
    return {
        name: size
        for fact in inputs
        for name, size in zip(fact.shape, batch[fact.name].shape, strict=True)
        if isinstance(name, str)
    }


def resized(inputs: tuple[Facts, ...], batch: Batch, sizes: dict[str, int]) -> Batch:
    """A batch with other sizes of the dimensions that `sizes` names: cut, or begun again at its end."""

    def fitted(fact: Facts) -> NDArray[Any]:
        array = batch[fact.name]
        for axis, name in enumerate(fact.shape):
            if isinstance(name, str) and name in sizes:
                array = np.take(array, np.arange(sizes[name]) % array.shape[axis], axis=axis)
        return array

    return {fact.name: fitted(fact) for fact in inputs}
