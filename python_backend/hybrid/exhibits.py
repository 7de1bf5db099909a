"""Requests on which the twins differed, kept on disk: the newest few, for `conversion replay`."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from .shadow import Differing
from .strings import storable

# A request larger than this is not kept.
_MOST_BYTES = 64_000_000
# Nobody takes as long to write one.
_UNFINISHED_NS = 600 * 10**9


class Exhibits:
    """Files `differing-N.npz` in a folder, N from 0 up to `keep` of them; then the oldest makes room.

    Every process of the model keeps its own there, and what one that was killed has left unfinished goes.

    A file holds `input/NAME`, `output/NAME`, which is the original's answer, and `twin/NAME`; strings are bytes of a
    fixed width, so that nothing need be unpickled.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder = folder
        self._paths = [folder / f"differing-{number}.npz" for number in range(keep)]

    def save(self, found: Differing) -> Path | None:
        """Write one; gives its path, or None where none is to be kept. Raises OSError."""
        if not self._paths:
            return None
        kinds = {"input": found.inputs, "output": found.original, "twin": found.onnx}
        arrays = {f"{kind}/{name}": storable(array) for kind, of in kinds.items() for name, array in of.items()}
        if sum(array.nbytes for array in arrays.values()) > _MOST_BYTES:
            return None
        # What callers sent is nobody else's business.
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self._folder.glob("*.new"):
            # What another process has finished meanwhile is no longer there.
            if time.time_ns() - _written(left) > _UNFINISHED_NS:
                left.unlink(missing_ok=True)
        path = min(self._paths, key=_written)
        unfinished = path.with_suffix(f".{os.getpid()}.new")
        with unfinished.open("wb") as file:
            np.savez_compressed(file, **arrays)
        unfinished.replace(path)
        return path


def _written(path: Path) -> int:
    """When, in nanoseconds; 0 where there is no such file."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
