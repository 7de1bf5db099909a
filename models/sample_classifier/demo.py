"""What the demo sends and shows: a family for each committed WAV, none of which was trained on."""

from pathlib import Path

import numpy as np
from families import FAMILIES
from log_mel import levels, picture
from numpy.typing import NDArray
from sound_files import read_wav

__all__ = ["check", "inputs", "show"]

SOUNDS = Path(__file__).with_name("wavs")


def _paths() -> list[Path]:
    """The committed sounds in the order of the families; each is named for its own."""
    return [SOUNDS / f"{family}.wav" for family in FAMILIES]


def inputs() -> dict[str, NDArray[np.float32]]:
    """Give the pictures of the sounds: {"spectrogram": float32 [12, 128, 128, 3]}."""
    return {"spectrogram": picture(np.stack([levels(read_wav(path)) for path in _paths()]))}


def show(outputs: dict[str, NDArray[np.float32]]) -> list[str]:
    """Write one line a sound from {"family": probabilities, float32 [12, 12]}: file, family, probability."""
    return [
        f"{path.name:<12} {FAMILIES[int(row.argmax())]:<8} {float(row.max()):6.1%}"
        for path, row in zip(_paths(), outputs["family"], strict=True)
    ]


def check(outputs: dict[str, NDArray[np.float32]]) -> None:
    """Raise ValueError unless every sound got its own family."""
    for path, row in zip(_paths(), outputs["family"], strict=True):
        answer = FAMILIES[int(row.argmax())]
        if answer != path.stem:
            raise ValueError(
                f"{path.name}: expected the family {path.stem}, found {answer} ({float(row.max()):.1%}); "
                "run evaluate.py beside it to see whether the network itself is at fault"
            )
