"""Strings in arrays, which Triton hands over as Python objects: as bytes they can be compared and stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_bytes(value: Any) -> bytes:
    """One value of a string tensor as it travels: UTF-8 where it is not bytes already."""
    return value if isinstance(value, bytes) else str(value).encode()


def storable(array: NDArray[Any]) -> NDArray[Any]:
    """The array as .npz keeps it without pickling: strings as bytes of one width (dtype S), anything else as it is."""
    if array.dtype.kind not in "OU":
        return array
    return np.array([as_bytes(value) for value in array.flat], np.bytes_).reshape(array.shape)
