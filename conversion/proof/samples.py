"""The inputs that parity is proved on: real ones where the spec has them, else generated ones."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from python_backend.strings import packed_size

from ..errors import ArtefactError
from ..interface import BATCH, Facts
from ..spec import ModelSpec
from .arrays import check_arrays, made_arrays, read_arrays

__all__ = ["LEAST_ROWS", "Batch", "batch_maker", "item_maker"]

Batch = dict[str, NDArray[Any]]

# Sizes for dynamic dimensions that the spec says nothing of: short, odd, and longer than a typical kernel.
_SIZES = (7, 16, 33)
# So many rows parity sees, where the samples have them: a few may be right by luck.
LEAST_ROWS = 30
# More than this is not asked of a generator for their sake.
_POOL_BYTES = 2**28
# Row counts are varied as well as contents: one pool of real rows is drawn from at another offset for each batch size.
_POOL = 64
# The number of a batch that parity does not use.
_OTHER = 1000


def batch_maker(spec: ModelSpec, inputs: Sequence[Facts]) -> Callable[[int, int], Batch]:
    """A function of (rows, number) that gives batch `number` with that many rows; other numbers, other contents.

    Raises ArtefactError where the spec's samples, or the dimensions that it names, do not fit the inputs.
    """
    _check_dimensions(spec, inputs)
    if not (spec.samples.file or spec.samples.generator):
        return lambda rows, number: _generate(spec, inputs, rows, number)
    if not spec.serving.max_batch_size:
        return _whole_samples(spec, inputs)
    arrays = _from_file(spec, inputs) if spec.samples.file else _pool(spec, inputs)

    def take(count: int, number: int) -> Batch:
        return {
            fact.name: np.take(array := arrays[fact.name], np.arange(number, number + count) % len(array), axis=0)
            for fact in inputs
        }

    return take


def item_maker(spec: ModelSpec, inputs: Sequence[Facts]) -> Callable[[int], Batch]:
    """A function of (rows) that gives so many samples, for comparisons without labels; raises ArtefactError.

    A file has what it has, and a model without a batch dimension has one row.
    """

    def items(rows: int) -> Batch:
        if not spec.serving.max_batch_size:
            return batch_maker(spec, inputs)(1, 0)
        if spec.samples.generator:
            # Others than those of parity: the ranges of eight-bit twins are calibrated on them.
            return _from_function(spec, inputs, rows, spec.samples.seed + 1)
        if spec.samples.file:
            arrays = _from_file(spec, inputs)
            # The last ones, for the same reason: those begin at the first.
            return {fact.name: arrays[fact.name][-rows:] for fact in inputs}
        return _generate(spec, inputs, rows, _OTHER)

    return items


def _pool(spec: ModelSpec, inputs: Sequence[Facts]) -> Batch:
    """What the generator gives for the largest batch, or more: `LEAST_ROWS` where they are small and it has them."""
    rows = min(_POOL, max(spec.batch_sizes))
    arrays = _from_function(spec, inputs, rows, spec.samples.seed)
    if rows < LEAST_ROWS and packed_size(arrays) / rows * LEAST_ROWS <= _POOL_BYTES:
        with contextlib.suppress(ArtefactError):
            return _from_function(spec, inputs, LEAST_ROWS, spec.samples.seed)
    return arrays


def _whole_samples(spec: ModelSpec, inputs: Sequence[Facts]) -> Callable[[int, int], Batch]:
    """The same without a batch dimension: a file is one sample, and a generator gives one for each number."""
    if spec.samples.file:
        arrays = _from_file(spec, inputs)
        return lambda _rows, _number: arrays

    @cache
    def sample(number: int) -> Batch:
        return _from_function(spec, inputs, 1, spec.samples.seed + number)

    first = sample(0)

    def take(_rows: int, number: int) -> Batch:
        # Of a generator that does not take every seed, the first sample comes again.
        with contextlib.suppress(ArtefactError):
            return sample(number)
        return first

    return take


def _from_file(spec: ModelSpec, inputs: Sequence[Facts]) -> Batch:
    arrays = read_arrays(spec, "samples.file", spec.samples.file)
    _check(spec, arrays, inputs)
    return arrays


def _from_function(spec: ModelSpec, inputs: Sequence[Facts], count: int, seed: int) -> Batch:
    arrays = made_arrays(spec, "samples.generator", spec.samples.generator, count, seed)
    _check(spec, arrays, inputs)
    return arrays


def _check(spec: ModelSpec, arrays: Batch, inputs: Sequence[Facts]) -> None:
    what = f"samples '{spec.samples.file or spec.samples.generator}'"
    check_arrays(spec, what, arrays, inputs)
    rows = {fact.name: len(arrays[fact.name]) for fact in inputs if spec.serving.max_batch_size}
    if len(set(rows.values())) > 1:
        told = ", ".join(f"'{name}' {count}" for name, count in rows.items())
        raise ArtefactError(
            f"{spec.name}: {what} must have as many rows of each input, one for each sample; found {told}"
        )


def _check_dimensions(spec: ModelSpec, inputs: Sequence[Facts]) -> None:
    """Here, since what the artefact tells of its inputs has no names before it is loaded."""
    named = {size for fact in inputs for size in fact.shape if isinstance(size, str)}
    known = sorted(named - {BATCH} if spec.serving.max_batch_size else named)
    if unknown := sorted(spec.samples.dims.keys() - set(known)):
        raise ArtefactError(
            f"{spec.name}: samples.dims names '{unknown[0]}', which is no dynamic dimension of the inputs; "
            f"there {'are ' + ', '.join(known) if known else 'is none'}"
        )


def _generate(spec: ModelSpec, inputs: Sequence[Facts], rows: int, number: int) -> Batch:
    rng = np.random.default_rng([spec.samples.seed, number])
    # Without batching that name is one like every other.
    sizes = {BATCH: rows} if spec.serving.max_batch_size else {}

    def size(dimension: str | int) -> int:
        if isinstance(dimension, int):
            return dimension
        choice = spec.samples.dims.get(dimension, _SIZES)
        return sizes.setdefault(dimension, choice[number % len(choice)])

    return {fact.name: _values(rng, fact, tuple(size(d) for d in fact.shape)) for fact in inputs}


def _values(rng: np.random.Generator, fact: Facts, shape: tuple[int, ...]) -> NDArray[Any]:
    if fact.dtype == "string":
        return np.array([str(value).encode() for value in rng.integers(0, 100, shape).ravel()], object).reshape(shape)
    if fact.dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if fact.dtype.startswith("float"):
        values = rng.uniform(*fact.range, shape) if fact.range else rng.standard_normal(shape)
        return values.astype(fact.dtype)
    # Small whole numbers by default: they are most often indices into a table of unknown length.
    low, high = fact.range or (0, 8)
    return rng.integers(int(low), int(high), shape).astype(fact.dtype)
