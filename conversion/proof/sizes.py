"""Samples in other sizes: a dimension that is said to be dynamic has to be proved at more sizes than one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..interface import BATCH, Facts
from .parity import Case
from .samples import Batch
from .subject import Subject

__all__ = ["no_answer", "other_sizes", "resized", "sizes_of"]

# One row of twice a size takes up to four times the memory, as attention does, for each dimension. Where no batch of
# parity is of so many rows, twice is tried up to this size, and up to so many places of all dimensions together.
_LARGEST = 4096
_MOST_PLACES = 2**20


def other_sizes(subject: Subject, sample: Batch) -> list[Batch]:
    """`sample` in other sizes of its dynamic dimensions; nothing where it has none.

    All of them at 1, which many a model treats apart. Those in which the samples of parity are all alike, as the spec's
    own are as a rule, also at an odd half, at half and at twice the size, one row of that: a size may have to be a
    multiple of something, and others take another way through the model. Several are also tried at sizes of which no
    two are the same, since the samples may be as long in one as in another, and each alone at twice its size.
    """
    own = sizes_of(subject.inputs, sample)
    dynamic = {name: size for name, size in own.items() if size and not (subject.batched and name == BATCH)}
    alike = _alike(subject, dynamic)
    tried = [
        {name: size // 2 | 1 for name, size in alike.items()},
        {name: max(1, size // 2) for name, size in alike.items()},
        dict.fromkeys(dynamic, 1),
        *({name: 1} for name in _alone(subject.inputs, list(dynamic))),
        *_apart(dynamic),
    ]
    changed = [sizes for sizes in tried if own | sizes != own]
    found = [resized(subject.inputs, sample, sizes) for n, sizes in enumerate(changed) if sizes not in changed[:n]]
    row = {name: array[:1] for name, array in sample.items()} if subject.batched else sample
    doubled = [alike, *({name: size} for name, size in dynamic.items() if len(dynamic) > 1)]
    for number, sizes in enumerate(doubled):
        twice = {name: 2 * size for name, size in sizes.items()}
        if twice and sizes not in doubled[:number] and _bearable(subject, twice):
            found.append(resized(subject.inputs, row, twice))
    return found


def no_answer(subject: Subject, case: Case) -> str | None:
    """Why what the original gave in a size could not be served as its answer, in words; None where it can.

    Nobody gets such an answer, so a twin owes none: NaN of a deviation of one value, nothing at all of what is shorter
    than a window, or a dimension less of a squeeze.
    """
    ranks = {tensor.name: len(tensor.shape) for tensor in subject.model.outputs}
    for name, value in case.expected.items():
        # The manifest gives a scalar a dimension.
        if name in ranks and max(value.ndim, 1) != ranks[name]:
            return f"its output '{name}' has {value.ndim} dimensions instead of {ranks[name]}"
        if not value.size:
            return f"its output '{name}' is empty"
        strict = value.dtype.kind == "f" and name not in subject.spec.serving.allow_non_finite_outputs
        if strict and not np.isfinite(value).all():
            return f"its output '{name}' holds NaN or infinity"
    return None


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


def _alike(subject: Subject, dynamic: dict[str, int]) -> dict[str, int]:
    """Those of the dimensions in which the samples of parity all have one size."""
    if not dynamic:
        return {}
    numbers = range(max(2, len(subject.spec.batch_sizes)))
    seen = [sizes_of(subject.inputs, subject.make(1, number)) for number in numbers]
    return {name: size for name, size in dynamic.items() if {sizes[name] for sizes in seen} == {size}}


def _alone(inputs: tuple[Facts, ...], dynamic: list[str]) -> list[str]:
    """Those of several dimensions that are 1 alone as well: not where an input without one would be joined to it."""
    shapes = [fact.shape for fact in inputs if set(fact.shape) & set(dynamic)]
    return [name for name in dynamic if len(dynamic) > 1 and all(name in shape for shape in shapes)]


def _apart(dynamic: dict[str, int]) -> list[dict[str, int]]:
    """Sizes of several dimensions that all differ, rising and falling: a model may ask which one is larger.

    None is larger than the samples' where those leave room: a table may end there. None is 1, which would be joined to
    any other.
    """
    if len(dynamic) < 2:
        return []
    least = max(2, min(dynamic.values()) - len(dynamic) + 1)
    sizes = range(least, least + len(dynamic))
    return [dict(zip(dynamic, order, strict=True)) for order in (sizes, reversed(sizes))]


def _bearable(subject: Subject, sizes: dict[str, int]) -> bool:
    """Whether one row of these sizes, each twice the samples', takes no more than a batch that was run, or is small."""
    rows = max(subject.spec.batch_sizes) if subject.batched else 1
    small = max(sizes.values()) <= _LARGEST and math.prod(sizes.values()) <= _MOST_PLACES
    return small or 4 ** len(sizes) <= rows
