"""What `make demo` sends to basic_pitch, and how it reads the answer."""

from __future__ import annotations

import numpy as np
from chords import chord
from numpy.typing import NDArray

C_MAJOR = (60, 64, 67)
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
# The lowest of the model's 88 notes is the piano's lowest A.
LOWEST_NOTE = 21
# A note counts when it is above this for 11 frames of 11.6 ms, the least length of a note in the package's defaults.
THRESHOLD = 0.5
FRAMES = 11


def inputs() -> dict[str, NDArray[np.float32]]:
    """A C-major chord, synthesised: float32 [1, 43844, 1]."""
    return {"input_2": chord(C_MAJOR)[None]}


def notes(outputs: dict[str, NDArray[np.float32]]) -> list[int]:
    """The MIDI numbers of the notes that sound: those above the threshold for long enough."""
    frames = (outputs["note"][0] > THRESHOLD).sum(axis=0)
    return [LOWEST_NOTE + int(index) for index in np.flatnonzero(frames >= FRAMES)]


def show(outputs: dict[str, NDArray[np.float32]]) -> list[str]:
    """One line: the notes that were heard."""
    heard = ", ".join(f"{note} ({NAMES[note % 12]}{note // 12 - 1})" for note in notes(outputs))
    return [f"C-major chord: heard MIDI {heard or 'nothing'}"]


def check(outputs: dict[str, NDArray[np.float32]]) -> None:
    """Raise ValueError where the notes are not those of the chord."""
    heard = notes(outputs)
    if heard != list(C_MAJOR):
        raise ValueError(f"the chord {list(C_MAJOR)} came back as {heard}")
