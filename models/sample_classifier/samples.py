"""Inputs for parity and calibration: pictures of synthesised sounds, none of them in the held-out set.

Accuracy is measured on the held-out set, so nothing may be fitted to it, not even the ranges of an eight-bit twin. The
sounds come from `synth_drums.py` and `synth_tones.py`, of which training had others by another seed; no soundfont is
needed.
"""

import numpy as np
from families import FAMILIES
from log_mel import levels, picture
from numpy.typing import NDArray
from synth_drums import DRUM_SOUNDS
from synth_tones import TONES

__all__ = ["make"]

# Beside the caller's seed: a stream that no number alone gives, so that it is not that of train.py.
STREAM = 23


def make(count: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Synthesise `count` sounds, the families in turn: {"spectrogram": float32 [count, 128, 128, 3]}.

    The same seed gives the same ones, and fewer of them are the first of more. 64 take 5 s.
    """
    makers = DRUM_SOUNDS | TONES
    random = np.random.default_rng([STREAM, seed])
    sounds = [makers[FAMILIES[number % len(FAMILIES)]](random) for number in range(count)]
    return {"spectrogram": picture(np.stack([levels(sound) for sound in sounds]))}
