"""Which notes of the General MIDI soundfont are trained on, and which are held out.

The held-out side has other presets (for drums: other keys or kits with other recordings), other keys or tunings and
other velocities. Presets that are built from the recordings of a preset on the other side are on neither side;
`recordings.py` checks that against the soundfont itself, whatever the names say.
"""

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from families import FAMILIES

__all__ = ["DRUM_BANK", "HELD_OUT_A_FAMILY", "TRAINED_A_FAMILY", "Note", "Side", "plan"]

Side = Literal["train", "held_out"]
Voice = tuple[int, int]  # melodic: bank and program; drums: kit and key

DRUM_BANK = 128
TRAINED_A_FAMILY = 420
HELD_OUT_A_FAMILY = 42

DRUMS: dict[str, dict[Side, tuple[Voice, ...]]] = {
    "kick": {
        "train": (*product((0, 1, 2, 3, 4, 7, 11, 16, 17, 19, 48), (36,)), *product((16, 24, 25), (35,))),
        "held_out": ((5, 36), (6, 36), (18, 36), (24, 36), (25, 36)),
    },
    "snare": {
        "train": (*product((0, 1, 3, 11, 16), (38, 40)), *product((24, 25, 40, 48), (38,))),
        "held_out": ((2, 38), (2, 40), (10, 38), (10, 40), (24, 40), (25, 40)),
    },
    "hi-hat": {"train": ((0, 42), (0, 46), (25, 46)), "held_out": ((0, 44), (25, 42))},
    "cymbal": {"train": ((0, 49), (0, 51), (0, 52), (0, 53), (0, 55)), "held_out": ((0, 57), (0, 59))},
    "tom": {
        "train": (
            *product((0,), (41, 45, 48)),
            *product((16,), (45, 50)),
            *product((24,), (41, 45, 48)),
            *product((25,), (41, 45, 48)),
        ),
        "held_out": (*product((0,), (43, 47, 50)), *product((16,), (43, 47)), *product((25,), (43, 47, 50))),
    },
}

# The lowest and the highest key of each family, and its presets.
MELODIC: dict[str, tuple[range, dict[Side, tuple[Voice, ...]]]] = {
    "bass": (range(28, 56), {"train": ((0, 32), (0, 34), (0, 35), (0, 36), (0, 39)), "held_out": ((0, 33), (0, 37))}),
    "guitar": (
        range(40, 77),
        {"train": ((0, 24), (0, 26), (0, 28), (0, 29), (0, 30), (8, 24), (8, 26)), "held_out": ((0, 25), (0, 27))},
    ),
    "piano": (range(33, 97), {"train": ((0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (8, 4)), "held_out": ((0, 5),)}),
    "organ": (
        range(36, 97),
        {"train": ((0, 16), (0, 18), (0, 19), (0, 20), (0, 21), (8, 16)), "held_out": ((0, 17),)},
    ),
    "strings": (
        range(36, 92),
        {"train": ((0, 40), (0, 42), (0, 44), (0, 48), (0, 49), (0, 50)), "held_out": ((0, 41), (0, 43))},
    ),
    "brass": (
        range(40, 80),
        {"train": ((0, 56), (0, 58), (0, 59), (0, 61), (0, 62), (0, 63)), "held_out": ((0, 57), (0, 60))},
    ),
    "lead": (range(48, 97), {"train": ((0, 80), (0, 81), (0, 82), (8, 80), (0, 87)), "held_out": ((0, 86),)}),
}

# Presets that end below the highest key of their family: contrabass and tuba.
HIGHEST_KEY: dict[Voice, int] = {(0, 43): 57, (0, 58): 72}

VELOCITIES: dict[Side, tuple[int, ...]] = {
    "train": (36, 52, 68, 84, 100, 116, 127),
    "held_out": (44, 60, 76, 92, 108),
}
DRUM_CENTS: dict[Side, tuple[int, ...]] = {
    "train": tuple(range(-400, 401, 100)),
    "held_out": tuple(range(-350, 351, 100)),
}
HOLD_SECONDS: dict[Side, tuple[float, ...]] = {"train": (0.25, 0.5, 0.9, 1.3), "held_out": (0.4, 0.7, 1.1)}


@dataclass(frozen=True, order=True)
class Note:
    """One note to render: what plays it, how it is struck, and how long the key is held."""

    family: str
    bank: int
    program: int
    key: int
    velocity: int
    cents: int
    hold_seconds: float


def _drum_notes(family: str, side: Side) -> list[list[Note]]:
    return [
        [
            Note(family, DRUM_BANK, kit, key, velocity, cents, 0.5)
            for velocity, cents in product(VELOCITIES[side], DRUM_CENTS[side])
        ]
        for kit, key in DRUMS[family][side]
    ]


def _melodic_notes(family: str, side: Side) -> list[list[Note]]:
    keys, voices = MELODIC[family]
    kept = [key for key in keys if (key % 3 == 1) == (side == "held_out")]
    return [
        [
            Note(family, bank, program, key, velocity, 0, hold)
            for key, velocity, hold in product(kept, VELOCITIES[side], HOLD_SECONDS[side])
            if key <= HIGHEST_KEY.get((bank, program), keys.stop)
        ]
        for bank, program in voices[side]
    ]


def plan(side: Side, seed: int = 7) -> list[Note]:
    """List the notes of one side, family by family, the same number of each, shared evenly among its presets.

    A family with fewer different notes than asked for gives all it has.
    """
    count = TRAINED_A_FAMILY if side == "train" else HELD_OUT_A_FAMILY
    random = np.random.default_rng(seed)
    chosen: list[Note] = []
    for family in FAMILIES:
        voices = _drum_notes(family, side) if family in DRUMS else _melodic_notes(family, side)
        shuffled = [[notes[i] for i in random.permutation(len(notes))] for notes in voices]
        turns = [notes[turn] for turn in range(max(map(len, shuffled))) for notes in shuffled if turn < len(notes)]
        chosen.extend(turns[:count])
    return chosen
