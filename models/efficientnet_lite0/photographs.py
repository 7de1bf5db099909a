"""Photographs from scikit-image as EfficientNet-Lite0 takes them."""

from __future__ import annotations

import numpy as np
import skimage.data
from numpy.typing import NDArray
from skimage.transform import resize

SIZE = 224
# The colour photographs that the package holds on disk; all others would have to be downloaded.
NAMES = ("cat", "coffee", "rocket", "astronaut", "hubble_deep_field", "retina", "colorwheel")
# Two more, on which agreement is measured and nothing is calibrated; the first is a pair for two eyes.
UNSEEN = ("stereo_motorcycle", "immunohistochemistry")
VIEWS = 300
VIEW_SEED = 20_242
SMALLEST_CROP = 0.4


def photograph(name: str) -> NDArray[np.uint8]:
    """A photograph by its name in `skimage.data`: uint8 [height, width, 3]."""
    found = getattr(skimage.data, name)()
    picture: NDArray[np.uint8] = found[0] if isinstance(found, tuple) else found
    return picture


def centre(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The largest square in the middle."""
    height, width, _ = picture.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return picture[top : top + side, left : left + side]


def prepare(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A square uint8 picture [side, side, 3] as float32 [3, 224, 224], scaled to (value - 127) / 128.

    The scale is the one that the 'lite' variants were trained with (EfficientNet-Lite's release notes, 2020).
    """
    small = resize(picture.astype(np.float32), (SIZE, SIZE), order=1, anti_aliasing=True, preserve_range=True)
    return np.ascontiguousarray(((small - 127.0) / 128.0).transpose(2, 0, 1), dtype=np.float32)


def crop(picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """A random square of it, its side 0.4 to 1 of the shorter one's."""
    side = int(min(picture.shape[:2]) * random.uniform(SMALLEST_CROP, 1.0))
    top, left = (int(random.integers(0, size - side + 1)) for size in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def make(count: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """`count` samples for parity and calibration: random square crops of the photographs in turn."""
    random = np.random.default_rng(seed)
    pictures = [photograph(name) for name in NAMES]
    return {"image": np.stack([prepare(crop(pictures[row % len(pictures)], random)) for row in range(count)])}


def views() -> dict[str, NDArray[np.float32]]:
    """What agreement is measured on: {"image": float32 [300, 3, 224, 224]}, always the same, in 5 s.

    Every photograph whole (its middle square) and mirrored, then random crops of all in turn, every other one mirrored.
    Parity samples are crops too, of seven of the nine photographs, but other ones. Nobody says what is on a crop, so
    there are no labels.
    """
    random = np.random.default_rng([VIEW_SEED, 0])
    pictures = [photograph(name) for name in (*NAMES, *UNSEEN)]
    squares = [square for picture in pictures for square in (centre(picture), centre(picture)[:, ::-1])]
    while len(squares) < VIEWS:
        square = crop(pictures[len(squares) % len(pictures)], random)
        squares.append(square[:, ::-1] if (len(squares) // len(pictures)) % 2 else square)
    return {"image": np.stack([prepare(square) for square in squares])}
