"""Real inputs for conversion: pictures out of the held-out set."""

import numpy as np
from held_out import load
from log_mel import picture
from numpy.typing import NDArray

__all__ = ["make"]


def make(count: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Draw `count` pictures of held-out sounds: {"spectrogram": float32 [count, 128, 128, 3]}.

    None comes twice until the set is used up; the same seed draws the same ones.
    """
    levels, _ = load()
    random = np.random.default_rng(seed)
    rounds = [random.permutation(len(levels)) for _ in range(count // len(levels) + 1)]
    return {"spectrogram": picture(levels[np.concatenate(rounds)[:count]])}
