"""The golden samples of a release as its files have them (docs/evidence.md): arrays by kind, "input" or "output"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["of_kind"]


def of_kind(archive: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The arrays of one kind by name; strings are bytes, of one width (dtype S) or as objects. Raises ValueError.

    Strings that no one width holds lie in two arrays: their lengths, and all bytes in a row.
    """
    whole, lengths = f"{kind}/", f"{kind}.lengths/"
    found = {name.removeprefix(whole): archive[name] for name in archive if name.startswith(whole)}
    for key in archive:
        if key.startswith(lengths):
            name = key.removeprefix(lengths)
            found[name] = _strings(archive[key], archive.get(f"{kind}.bytes/{name}"))
    return found


def _strings(lengths: Any, content: Any) -> Any:
    import numpy as np

    if content is None or lengths.min(initial=0) < 0 or lengths.sum() != content.size:
        raise ValueError("the lengths of its strings are not those of their bytes")
    ends = np.cumsum(lengths.reshape(-1))
    strings = np.empty(lengths.size, np.object_)
    strings[:] = [content[end - length : end].tobytes() for end, length in zip(ends, lengths.flat, strict=True)]
    return strings.reshape(lengths.shape)
