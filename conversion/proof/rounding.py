"""How much of a difference is rounding: what the original makes of inputs that differ in their last bit alone."""

from __future__ import annotations

import numpy as np

from ..spec import ToleranceSpec
from .parity import Case, Comparison, compare
from .samples import Batch
from .subject import Subject

__all__ = ["moved_by_rounding", "nudged", "rounded"]


def nudged(batch: Batch) -> Batch:
    """About half of all floats one step nearer to zero, drawn with a fixed seed; zeros and whole numbers stay."""
    rng = np.random.default_rng(0)
    return {
        name: np.where(rng.random(array.shape) < 0.5, np.nextafter(array, np.zeros_like(array)), array)
        if array.dtype.kind == "f"
        else array
        for name, array in batch.items()
    }


def rounded(subject: Subject, case: Case, tolerance: ToleranceSpec) -> list[Comparison]:
    """What the original answers to the nudged inputs, compared with what it answered. Raises ArtefactError."""
    return compare(case, subject.run(nudged(case.inputs)), tolerance)


def moved_by_rounding(subject: Subject, case: Case) -> float:
    """The largest change in any number that the original answers when the inputs are nudged. 0 where all is whole.

    A twin that sums in another order can hardly come nearer than this. Raises ArtefactError.
    """
    floats = {name for name, expected in case.expected.items() if expected.dtype.kind == "f"}
    return max((c.max_abs or 0.0 for c in rounded(subject, case, ToleranceSpec()) if c.output in floats), default=0.0)
