"""Read and write the committed held-out set: levels, uint8 [count, 128, 128], and families, uint8 [count]."""

from pathlib import Path
from typing import Any

import numpy as np
from log_mel import picture
from numpy.typing import NDArray

__all__ = ["FILE", "labelled", "load", "save"]

FILE = Path(__file__).with_name("held_out.npz")


def load(path: Path = FILE) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Give levels, uint8 [count, 128, 128], and the index of each one's family, uint8 [count]."""
    with np.load(path, allow_pickle=False) as stored:
        return stored["levels"], stored["families"]


def labelled() -> dict[str, NDArray[Any]]:
    """The set as accuracy is measured on it: {"spectrogram": float32 [504, 128, 128, 3], "labels": int64 [504]}."""
    levels, families = load()
    return {"spectrogram": picture(levels), "labels": families.astype(np.int64)}


def save(levels: NDArray[np.uint8], families: NDArray[np.uint8], path: Path = FILE) -> None:
    """Write the set, compressed."""
    np.savez_compressed(path, levels=levels, families=families)
