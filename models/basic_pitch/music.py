"""Short pieces whose notes are known: chords, melodies, and melodies over chords, played by made-up instruments.

What accuracy is measured on. Parity and calibration use `chords.py`: other notes, one timbre, struck once a window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from chords import RATE, SAMPLES
from numpy.typing import NDArray

__all__ = ["Note", "WINDOWS", "labelled", "play", "write"]

WINDOWS = 400
SEED = 20_241
# E2 to B5: most of a guitar and of a piano's middle.
LOWEST, HIGHEST = 40, 83
SCALE = (0, 2, 4, 5, 7, 9, 11)
SHORTEST, LONGEST = 0.18, 0.9
# Nothing starts in the first 0.1 s, and all has died away before the window ends.
FIRST, LAST = 0.1, 1.85
# Silence between two notes of one pitch, without which nobody could tell them from one.
GAP = 0.06
RELEASE = 0.04
PARTIALS = np.arange(1, 13)
Sound = NDArray[np.float64]
Random = np.random.Generator


@dataclass(frozen=True)
class Note:
    """A note: MIDI number (69 is 440 Hz), onset and offset in seconds, velocity from 0 to 1."""

    pitch: int
    onset: float
    offset: float
    velocity: float


def _plucked(random: Random, hertz: float, time: Sound) -> Sound:
    """A string: where it is plucked silences some partials; high ones die first."""
    place, ring = random.uniform(0.1, 0.4), random.uniform(0.8, 2.5)
    sound = np.zeros_like(time)
    for partial in PARTIALS:
        level = (abs(np.sin(np.pi * partial * place)) + 0.05) / partial
        sound += level * np.sin(2 * np.pi * hertz * partial * time) * np.exp(-partial * time / ring)
    return sound * np.minimum(time / 0.003, 1)


def _struck(random: Random, hertz: float, time: Sound) -> Sound:
    """A stiff string: partials a little sharp, a fast fall and then a slow one."""
    stiffness, slope = random.uniform(0, 4e-4), random.uniform(1.2, 2.0)
    fall = 0.6 * np.exp(-time / 0.15) + 0.4 * np.exp(-time / random.uniform(1.0, 3.0))
    sound = np.zeros_like(time)
    for partial in PARTIALS:
        ratio = partial * np.sqrt(1 + stiffness * partial**2)
        sound += np.sin(2 * np.pi * hertz * ratio * time) * np.exp(-0.4 * partial * time) / partial**slope
    return sound * fall * np.minimum(time / 0.004, 1)


def _organ(random: Random, hertz: float, time: Sound) -> Sound:
    """Steady partials, as of drawbars."""
    drawn = random.uniform(0.1, 1.0, PARTIALS.size) / PARTIALS
    drawn[0] = 1.0
    sound = np.sin(2 * np.pi * hertz * PARTIALS[:, None] * time + random.uniform(0, 6, (PARTIALS.size, 1)))
    return np.asarray(drawn @ sound * np.minimum(time / 0.008, 1))


def _reed(random: Random, hertz: float, time: Sound) -> Sound:
    """Odd partials, a soft start, vibrato that sets in late."""
    depth = random.uniform(0, 0.004) * np.clip((time - 0.15) / 0.2, 0, 1)
    turns = np.cumsum(hertz * (1 + depth * np.sin(2 * np.pi * random.uniform(4.5, 6.5) * time))) / RATE
    sound = np.zeros_like(time)
    for partial in PARTIALS[:8]:
        sound += (1.0 if partial % 2 else 0.25) * np.sin(2 * np.pi * partial * turns) / partial
    return sound * np.minimum(time / 0.02, 1)


INSTRUMENTS: tuple[Callable[[Random, float, Sound], Sound], ...] = (_plucked, _struck, _organ, _reed)


def _melody(random: Random, lowest: int, highest: int, loudness: float) -> list[Note]:
    """Notes of one major scale, one after another, with rests between some."""
    key = int(random.integers(0, 12))
    pitches = [pitch for pitch in range(lowest, highest + 1) if (pitch - key) % 12 in SCALE]
    at, step, notes = random.uniform(FIRST, 0.3), int(random.integers(0, len(pitches))), []
    while at + SHORTEST < LAST:
        length = min(float(random.choice([0.2, 0.25, 0.4, 0.5, 0.75])) * random.uniform(0.9, 1.1), LAST - at)
        notes.append(Note(pitches[step], at, at + length, loudness * random.uniform(0.5, 1.0)))
        at += length + float(random.choice([GAP, GAP, 0.2]))
        step = int(np.clip(step + random.choice([-4, -3, -2, -1, 1, 2, 3, 4]), 0, len(pitches) - 1))
    return notes


def _chords(random: Random, count: int) -> list[Note]:
    """`count` chords of two to four notes in turn, all their notes struck and let go together."""
    notes = []
    room = (LAST - FIRST) / count
    for number in range(count):
        at = FIRST + number * room + random.uniform(0, 0.2 * room)
        length = min(random.uniform(SHORTEST, LONGEST), FIRST + (number + 1) * room - at - GAP)
        root = int(random.integers(LOWEST, HIGHEST - 16))
        above = [[0, 7], [0, 4, 7], [0, 3, 7], [0, 5, 9], [0, 4, 7, 11], [0, 7, 12, 16]][int(random.integers(6))]
        loudness = random.uniform(0.5, 1.0)
        notes += [Note(root + step, at, at + length, loudness * random.uniform(0.8, 1.0)) for step in above]
    return notes


def write(random: Random, number: int) -> list[Note]:
    """The notes of window `number`: chords, a melody, or a melody above a chord in turn."""
    if number % 3 == 0:
        return _chords(random, int(random.integers(1, 4)))
    if number % 3 == 1:
        return _melody(random, LOWEST, HIGHEST, 1.0)
    chord = [note for note in _chords(random, 1) if note.pitch < 62]
    return chord + _melody(random, 67, HIGHEST, 1.0)


def play(random: Random, notes: list[Note]) -> NDArray[np.float32]:
    """The sound of the notes, all by one instrument, over a faint hiss: float32 [43844, 1], peak 0.1 to 0.9."""
    instrument = INSTRUMENTS[int(random.integers(len(INSTRUMENTS)))]
    sound = np.zeros(SAMPLES)
    for note in notes:
        start = round(note.onset * RATE)
        time = np.arange(min(round((note.offset - note.onset + RELEASE) * RATE), SAMPLES - start)) / RATE
        voice = instrument(random, 440.0 * 2.0 ** ((note.pitch - 69) / 12), time)
        held = np.clip((note.offset - note.onset + RELEASE - time) / RELEASE, 0, 1)
        sound[start : start + time.size] += note.velocity * held * voice / np.abs(voice).max()
    sound *= random.uniform(0.1, 0.9) / np.abs(sound).max()
    return (sound + random.normal(0, 1e-4, SAMPLES)).astype(np.float32)[:, None]


def labelled() -> dict[str, NDArray[np.float32] | NDArray[np.float64]]:
    """400 windows and their notes, always the same ones, in 5 s.

    {"input_2": float32 [400, 43844, 1], "labels": float64 [400, most notes, 3]}; a label is the MIDI number, the onset
    and the offset in seconds, and rows of NaN fill up.
    """
    random = np.random.default_rng(SEED)
    pieces = [write(random, number) for number in range(WINDOWS)]
    labels = np.full((WINDOWS, max(map(len, pieces)), 3), np.nan)
    for row, notes in enumerate(pieces):
        labels[row, : len(notes)] = [(note.pitch, note.onset, note.offset) for note in notes]
    return {"input_2": np.stack([play(random, notes) for notes in pieces]), "labels": labels}
