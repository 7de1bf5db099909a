"""Requests on which the twins differed, kept on disk: the newest few, for `conversion replay`."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np

from .shadow import Differing
from .strings import storable

# A request larger than this is not kept.
_MOST_BYTES = 64_000_000


class Exhibits:
    """Files `differing-N.npz` in a folder, N from 0 up to `keep` of them; then the oldest makes room.

    A file holds `input/NAME`, `output/NAME`, which is the original's answer, and `twin/NAME`; strings are bytes of a
    fixed width, so that nothing need be unpickled.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder = folder
        self._numbers = itertools.cycle(range(keep)) if keep else iter(())

    def save(self, found: Differing) -> Path | None:
        """Write one; gives its path, or None where none is to be kept. Raises OSError."""
        number = next(self._numbers, None)
        if number is None:
            return None
        kinds = {"input": found.inputs, "output": found.original, "twin": found.onnx}
        arrays = {f"{kind}/{name}": storable(array) for kind, of in kinds.items() for name, array in of.items()}
        if sum(array.nbytes for array in arrays.values()) > _MOST_BYTES:
            return None
        # What callers sent is nobody else's business.
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"differing-{number}.npz"
        # Other processes of this model write here too; the last one counts.
        unfinished = path.with_suffix(f".{os.getpid()}.new")
        with unfinished.open("wb") as file:
            np.savez_compressed(file, **arrays)
        unfinished.replace(path)
        return path
