"""Vary the training pictures, so that the network learns families and not the presets it was shown.

Works on levels, uint8 [128 bands, 128 frames]; one step is 80 / 255 dB. What a change stands for:

- roll along frequency: another tuning;
- a second sound of the family under the first: a layered preset;
- a smooth curve over frequency: another body, microphone or equaliser;
- a smooth curve over time: another envelope;
- a cut after a random frame: a key let go earlier, or a sample trimmed;
- a raised floor: a noisy recording;
- a blanked band and a blanked stretch: SpecAugment (Park et al., 2019, https://arxiv.org/abs/1904.08779).
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["layer", "vary"]

STEPS_A_DB = 255.0 / 80.0
FARTHEST_ROLL = 5
EQUALISER_DB = 20.0
QUIETEST_LAYER_DB = 24.0
ENVELOPE_DB = 8.0


def _curve(random: np.random.Generator, size: int, knots: int, decibels: float) -> NDArray[np.float32]:
    """Draw a smooth curve in steps, float32 [size], through `knots` normal values of a third of `decibels`."""
    values = random.normal(0.0, decibels / 3.0, knots) * STEPS_A_DB
    return np.interp(np.linspace(0, knots - 1, size), np.arange(knots), values).astype(np.float32)


def _roll(steps: NDArray[np.float32], bands: int) -> NDArray[np.float32]:
    rolled = np.roll(steps, bands, axis=0)
    if bands > 0:
        rolled[:bands] = steps[0]
    elif bands < 0:
        rolled[bands:] = 0.0
    return rolled


def _blank(steps: NDArray[np.float32], random: np.random.Generator) -> None:
    for axis, longest in ((0, 16), (1, 20)):
        length = int(random.integers(0, longest))
        start = int(random.integers(0, steps.shape[axis] - length))
        index = [slice(None), slice(None)]
        index[axis] = slice(start, start + length)
        steps[tuple(index)] = 0.0


def layer(first: NDArray[np.uint8], second: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Put `second` under `first`, both uint8 [128, 128]: the louder one of each cell is heard."""
    lowered = second.astype(np.float32) - random.uniform(0.0, QUIETEST_LAYER_DB) * STEPS_A_DB
    return np.maximum(first, np.clip(np.rint(lowered), 0, 255).astype(np.uint8))


def vary(original: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Give a varied copy of levels, uint8 [128, 128], with its loudest cell at 255 again."""
    bands, frames = original.shape
    steps = _roll(original.astype(np.float32), int(random.integers(-FARTHEST_ROLL, FARTHEST_ROLL + 1)))
    change = _curve(random, bands, 8, EQUALISER_DB)[:, None] + _curve(random, frames, 5, ENVELOPE_DB)[None, :]
    steps = np.where(steps > 0, steps + change, 0.0)
    steps += 255.0 - steps.max()
    if random.random() < 0.25:
        steps[:, int(random.integers(16, frames)) :] = 0.0
    if random.random() < 0.3:
        floor = random.uniform(0.0, 70.0) + random.normal(0.0, 6.0, steps.shape)
        steps = np.maximum(steps, floor)
    if random.random() < 0.5:
        _blank(steps, random)
    return np.clip(np.rint(steps), 0, 255).astype(np.uint8)
