"""How much of a difference is rounding: what the original makes of inputs that differ in their last bit alone."""

from __future__ import annotations

import numpy as np

from .parity import Case
from .samples import Batch
from .subject import Subject

__all__ = ["moved_by_rounding", "nudged"]


def nudged(batch: Batch) -> Batch:
    """About half of all floats one step nearer to zero, drawn with a fixed seed; zeros and whole numbers stay."""
    rng = np.random.default_rng(0)
    return {
        name: np.where(rng.random(array.shape) < 0.5, np.nextafter(array, np.zeros_like(array)), array)
        if array.dtype.kind == "f"
        else array
        for name, array in batch.items()
    }


def moved_by_rounding(subject: Subject, case: Case) -> float:
    """The largest change in any number that the original answers when the inputs are nudged. 0 where all is whole.

    A twin that sums in another order can hardly come nearer than this. Raises ArtefactError.
    """
    answer = subject.run(nudged(case.inputs))
    moved = (
        np.abs(answer[name].astype(np.float64) - expected.astype(np.float64))
        for name, expected in case.expected.items()
        if expected.dtype.kind == "f"
    )
    return max((float(np.nanmax(change, initial=0.0)) for change in moved), default=0.0)
