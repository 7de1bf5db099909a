"""Photographs from scikit-image as EfficientNet-Lite0 takes them."""

from __future__ import annotations

import numpy as np
import skimage.data
from numpy.typing import NDArray
from skimage.transform import resize

SIZE = 224
# The colour photographs that the package holds on disk; all others would have to be downloaded.
NAMES = ("cat", "coffee", "rocket", "astronaut", "hubble_deep_field", "retina", "colorwheel")


def photograph(name: str) -> NDArray[np.uint8]:
    """A photograph by its name in `skimage.data`: uint8 [height, width, 3]."""
    picture: NDArray[np.uint8] = getattr(skimage.data, name)()
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


def make(count: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """`count` samples for parity: the photographs themselves first, then random square crops of them."""
    rng = np.random.default_rng(seed)
    pictures = [photograph(name) for name in NAMES]
    rows = [prepare(centre(picture)) for picture in pictures[:count]]
    while len(rows) < count:
        picture = pictures[len(rows) % len(pictures)]
        side = int(min(picture.shape[:2]) * rng.uniform(0.4, 1.0))
        top, left = (int(rng.integers(0, size - side + 1)) for size in picture.shape[:2])
        rows.append(prepare(picture[top : top + side, left : left + side]))
    return {"image": np.stack(rows)}
