"""Inputs that no sample is like: zeros, tiny, large, noise, other sizes. A twin has to follow its original there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArtefactError
from ..interface import Facts
from ..spec import ToleranceSpec
from .parity import Case, compare
from .rounding import rounded
from .samples import Batch
from .sizes import no_answer, other_sizes
from .subject import Subject

__all__ = ["OTHER_SIZES", "Unfit", "stress_cases", "stress_tolerance"]

OTHER_SIZES = "other sizes"
_ROWS = 2
_LARGE = 100.0
_TINY = 1e-6
# Sums of large terms that cancel keep the error of the terms: seven digits of the largest value are all there is.
_CANCELLATION = 1e-5


@dataclass(frozen=True)
class Unfit:
    """A kind of stress that proves nothing here, and why: the original itself fails or is not stable there."""

    stress: str
    reason: str


def stress_cases(subject: Subject) -> tuple[list[Case], list[Unfit]]:
    """The original's answers to each kind of stress, and the kinds that it cannot be held to.

    Other sizes of dynamic dimensions are tried even where the spec wants no stress.
    """
    cases, unfit = [], []
    sample = subject.make(min(_ROWS, subject.spec.serving.most_rows), 0)
    for stress, batch in _kinds(subject, sample):
        try:
            case = Case(batch, subject.run(batch), stress)
            if stress == OTHER_SIZES and (reason := no_answer(subject, case)):
                unfit.append(Unfit(stress, f"the original has no answer there, on {case.shapes}: {reason}"))
            elif wavers := _wavers(subject, case):
                unfit.append(Unfit(stress, f"the original's own answer changes {wavers}"))
            else:
                cases.append(case)
        except ArtefactError as error:
            unfit.append(Unfit(stress, f"the original fails there: {error}"))
    return cases, unfit


def stress_tolerance(tolerance: ToleranceSpec) -> ToleranceSpec:
    """What is allowed under stress: as much as the spec says, and what cancellation costs."""
    return replace(tolerance, of_largest=max(tolerance.of_largest, _CANCELLATION))


def _kinds(subject: Subject, sample: Batch) -> Iterator[tuple[str, Batch]]:
    for other in other_sizes(subject, sample):
        yield OTHER_SIZES, other
    if subject.spec.parity.stress:
        yield from _batches(subject, sample)


def _batches(subject: Subject, sample: Batch) -> Iterator[tuple[str, Batch]]:
    kinds: dict[str, Callable[[Facts, NDArray[Any]], NDArray[Any]]] = {
        "zeros": lambda fact, array: _within(fact, np.zeros_like(array)),
        "tiny": lambda fact, array: _within(fact, array * _TINY) if array.dtype.kind == "f" else array,
        "large": lambda fact, array: _within(fact, _enlarged(array)) if array.dtype.kind == "f" else array,
        "noise": _noise,
    }
    if not any(array.dtype.kind == "f" for array in sample.values()):
        del kinds["tiny"], kinds["large"]
    for stress, make in kinds.items():
        yield (
            stress,
            {
                fact.name: make(fact, sample[fact.name]).astype(sample[fact.name].dtype)
                if sample[fact.name].dtype.kind in "fiub"
                else sample[fact.name]
                for fact in subject.inputs
            },
        )


def _within(fact: Facts, array: NDArray[Any]) -> NDArray[Any]:
    """Inside the range of the spec, which says what a valid input is; `high` is not part of it."""
    if fact.range is None:
        return array
    low, high = fact.range
    return np.clip(array, low, high if array.dtype.kind == "f" else high - 1)


def _enlarged(array: NDArray[Any]) -> NDArray[Any]:
    most = float(np.finfo(array.dtype).max)
    return np.clip(array.astype(np.float64) * _LARGE, -most, most)


def _noise(fact: Facts, array: NDArray[Any]) -> NDArray[Any]:
    rng = np.random.default_rng(0)
    if array.dtype.kind == "f":
        return _within(fact, array.mean() + array.std() * rng.standard_normal(array.shape))
    # Whole numbers are most often indices: any of those that the samples hold is one.
    return rng.choice(array.reshape(-1), array.shape)


def _wavers(subject: Subject, case: Case) -> str | None:
    """With what the original's answer changes though it should not, and how; None where it is settled."""
    limit = stress_tolerance(subject.spec.parity.tolerance("fp32"))
    found = [("with the last bit of the inputs", rounded(subject, case, limit))]
    if subject.batched and case.rows > 1:
        for number in range(case.rows):
            row, expected = case.row(number)
            found.append(("with the batch", compare(Case(row, expected), subject.run(row), limit)))
    return next((f"{cause} there, on {case.shapes}: {c.failure}" for cause, of in found for c in of if c.failure), None)
