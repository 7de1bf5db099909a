"""Chords as Basic Pitch takes them: two seconds of audio at 22,050 Hz."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RATE = 22_050
# The window that the model was trained on: two seconds less one hop of 256 samples.
SAMPLES = 43_844
PARTIALS = 6
LOWEST, HIGHEST = 36, 84


def chord(notes: Sequence[int], seconds_before: float = 0.1) -> NDArray[np.float32]:
    """Plucked notes (MIDI numbers, 69 is 440 Hz) struck together: float32 [43844, 1], peak 0.8."""
    time = np.arange(SAMPLES) / RATE - seconds_before
    sound = np.zeros(SAMPLES)
    for note in notes:
        frequency = 440.0 * 2.0 ** ((note - 69) / 12)
        for partial in range(1, PARTIALS + 1):
            # Higher partials are weaker and die sooner, as on a string.
            sound += np.sin(2 * np.pi * frequency * partial * time) * np.exp(-1.2 * partial * time) / partial**1.5
    # Five milliseconds of attack: a hard edge would be heard as a click at every pitch.
    sound *= np.clip(time / 0.005, 0.0, 1.0)
    return (0.8 * sound / np.abs(sound).max()).astype(np.float32)[:, None]


def make(count: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """`count` samples for parity: chords of one to four random notes, and now and then noise, soft or loud.

    Digital silence is left out. The model scales each row to its own loudest value, which for silence is rounding
    error, so the original's own answer to it moves by 0.05 between a batch of 1 and one of 7: nothing to match.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        notes = rng.choice(np.arange(LOWEST, HIGHEST), size=int(rng.integers(1, 5)), replace=False)
        row = chord([int(note) for note in notes], seconds_before=float(rng.uniform(0.05, 0.8)))
        if number % 8 in (6, 7):
            row = ((1e-4 if number % 8 == 6 else 0.1) * rng.standard_normal(row.shape)).astype(np.float32)
        rows.append(row)
    return {"input_2": np.stack(rows)}
