"""Strings in arrays, which Triton hands over as Python objects: as bytes they can be compared and stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Added to the first part of a key.
_LENGTHS, _BYTES = ".lengths", ".bytes"
# One width for all may take so many times the room of the strings themselves.
_WASTE = 4


def as_bytes(value: Any) -> bytes:
    """One value of a string tensor as it travels: UTF-8 where it is not bytes already."""
    return value if isinstance(value, bytes) else str(value).encode()


def packed(kind: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Arrays for a .npz that need no unpickling: `KIND/NAME`, strings as bytes of one width (dtype S).

    Where that would lose NUL bytes at the end of strings, or one is much longer than the others, they are two arrays:
    `KIND.lengths/NAME`, int64 in the shape of the tensor, and `KIND.bytes/NAME`, uint8, one string after the other.
    """
    found: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        values = [as_bytes(value) for value in array.flat] if _is_text(array) else []
        if not values:
            found[f"{kind}/{name}"] = array.astype(np.bytes_) if _is_text(array) else array
        elif _fit_one_width(values):
            found[f"{kind}/{name}"] = np.array(values, np.bytes_).reshape(array.shape)
        else:
            found[f"{kind}{_LENGTHS}/{name}"] = np.array(list(map(len, values)), np.int64).reshape(array.shape)
            found[f"{kind}{_BYTES}/{name}"] = np.frombuffer(b"".join(values), np.uint8)
    return found


def packed_size(arrays: Mapping[str, NDArray[Any]]) -> int:
    """About the bytes that `packed` gives, 4 times as many at most, without making them."""
    return sum(
        sum(len(as_bytes(value)) + 8 for value in array.flat) if _is_text(array) else array.nbytes
        for array in arrays.values()
    )


def unpacked(archive: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, NDArray[Any]]]:
    """What `packed` made, by kind and name; strings come back as objects of bytes. Raises ValueError."""
    found: dict[str, dict[str, NDArray[Any]]] = {}
    for key in archive:
        kind, _, name = key.partition("/")
        if kind.endswith(_BYTES):
            continue
        if kind.endswith(_LENGTHS):
            kind = kind.removesuffix(_LENGTHS)
            array = _apart(archive[key], archive.get(f"{kind}{_BYTES}/{name}"))
        else:
            array = archive[key]
            array = array.astype(object) if array.dtype.kind == "S" else array
        found.setdefault(kind, {})[name] = array
    return found


def _is_text(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "OSU"


def _fit_one_width(values: list[bytes]) -> bool:
    room = len(values) * max(map(len, values))
    return room <= _WASTE * sum(len(value) + 8 for value in values) and not any(v.endswith(b"\0") for v in values)


def _apart(lengths: NDArray[Any], content: NDArray[Any] | None) -> NDArray[Any]:
    if content is None or content.dtype != np.uint8 or lengths.min(initial=0) < 0 or lengths.sum() != content.size:
        raise ValueError("the lengths of its strings are not those of their bytes")
    text, end = content.tobytes(), 0
    values = np.empty(lengths.size, object)
    for index, length in enumerate(lengths.flat):
        values[index] = text[end : end + length]
        end += int(length)
    return values.reshape(lengths.shape)
