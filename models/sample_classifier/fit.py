"""Train the network on levels and families."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from augment import layer, vary
from families import FAMILIES
from log_mel import picture
from network import build
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

__all__ = ["EPOCHS", "fit"]

SEED = 7
EPOCHS = 50
BATCH = 64
A_FAMILY_AN_EPOCH = 384
PEAK_RATE = 3e-3
MIXUP = 0.2
LAYERED = 0.4
THREADS = 2


def _batches(
    levels: NDArray[np.uint8], families: NDArray[np.uint8], random: np.random.Generator
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield batches without end: every family equally often, varied, half of them mixed (Zhang et al., 2018)."""
    members = [np.flatnonzero(families == family) for family in range(len(FAMILIES))]
    while True:
        drawn = random.integers(0, len(FAMILIES), BATCH)
        sounds = [levels[random.choice(members[family])] for family in drawn]
        for row in np.flatnonzero(random.random(BATCH) < LAYERED):
            sounds[row] = layer(sounds[row], levels[random.choice(members[drawn[row]])], random)
        pictures = picture(np.stack([vary(sound, random) for sound in sounds]))
        targets = np.eye(len(FAMILIES), dtype=np.float32)[drawn]
        if random.random() < 0.5:
            share = np.float32(random.beta(MIXUP, MIXUP))
            pictures = share * pictures + (1 - share) * pictures[::-1]
            targets = share * targets + (1 - share) * targets[::-1]
        yield pictures, targets


def fit(
    levels: NDArray[np.uint8], families: NDArray[np.uint8], callbacks: list[Any], epochs: int = EPOCHS
) -> "keras.Model":
    """Train on levels, uint8 [count, 128, 128], and family indices, uint8 [count]; give the trained network."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    steps = A_FAMILY_AN_EPOCH * len(FAMILIES) // BATCH
    rate = keras.optimizers.schedules.CosineDecay(
        1e-4, decay_steps=(epochs - 2) * steps, warmup_target=PEAK_RATE, warmup_steps=2 * steps, alpha=1e-3
    )
    network = build()
    network.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=1e-3),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        metrics=["accuracy"],
    )
    batches = _batches(levels, families, np.random.default_rng(SEED))
    network.fit(batches, steps_per_epoch=steps, epochs=epochs, verbose=0, callbacks=callbacks)
    return network
