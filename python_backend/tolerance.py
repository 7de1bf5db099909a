"""How far two answers are apart, against what is allowed: one rule for proving a twin and for watching it in service.

The hybrid links to this file, and so carries it into every release.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .strings import as_bytes

__all__ = ["Differences", "differences", "is_amount"]

# Bytes of a whole number that is a name rather than an amount.
_LONG = 4


class Differences(NamedTuple):
    """The largest absolute difference, the largest relative to |expected| + atol, and the largest over what is allowed.

    The last, `worst`, is above 1 where one element is off by too much. All are None where values cannot be compared.
    """

    max_abs: float | None
    max_rel: float | None
    worst: float | None


def differences(
    got: NDArray[Any], expected: NDArray[Any], *, atol: float, rtol: float, of_largest: float
) -> tuple[Differences, str | None]:
    """How far `got` is from `expected`, arrays of one shape, and why that is too far; None where it is not.

    An element may be off by atol + rtol * |expected| + of_largest * max|expected|. The rounding of a whole number does
    not grow with it: rtol is for floats alone, and of_largest for amounts.
    Strings have to be the same; where the expected value is not finite, the other has to be so in the same way.
    """
    if got.dtype.kind in "OSU":
        same = list(map(as_bytes, got.flat)) == list(map(as_bytes, expected.flat))
        return Differences(0.0, 0.0, 0.0), None if same else "the strings differ"
    whole = expected.dtype.kind in "iub"
    rtol = 0.0 if whole else rtol
    of_largest = of_largest if is_amount(expected.dtype) else 0.0
    a, b = got.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.isfinite(a[finite]).all():
        return Differences(None, None, None), "not finite where the original is, or the reverse"
    difference, size = np.abs(a[finite] - b[finite]), np.abs(b[finite])
    if whole:
        # Beyond 2^53 neighbours are one and the same float.
        difference = np.where(got[finite] == expected[finite], 0.0, np.maximum(difference, 1.0))
    limit = atol + rtol * size + of_largest * float(size.max(initial=0.0))
    share = np.divide(difference, limit, out=np.where(difference > 0, np.inf, 0.0), where=limit > 0)
    largest = float(difference.max(initial=0.0))
    relative = float((difference / (size + (atol or 1e-12))).max(initial=0.0))
    worst = float(share.max(initial=0.0))
    failure = None
    if worst > 1:
        largest_part = f" + {of_largest:g}·max|original|" if of_largest else ""
        failure = (
            f"{int((share > 1).sum())} of {share.size} values differ by more than "
            f"{atol:g} + {rtol:g}·|original|{largest_part} (worst {largest:.3g})"
        )
    return Differences(largest, relative, worst), failure


def is_amount(dtype: np.dtype[Any]) -> bool:
    """Whether values of a dtype may be near one another: floats, and whole numbers of 8 and 16 bits, as pictures have.

    Longer ones name classes, words or places most often, and the next one is as wrong as any other.
    """
    return dtype.kind == "f" or (dtype.kind in "iu" and dtype.itemsize < _LONG)
