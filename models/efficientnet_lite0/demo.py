"""What `make demo` sends to efficientnet_lite0, and how it reads the answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from photographs import centre, photograph, prepare

# The classes of ImageNet-1k (by their index there) that these photographs and their crops meet.
LABELS = {
    281: "tabby",
    282: "tiger cat",
    283: "Persian cat",
    284: "Siamese cat",
    285: "Egyptian cat",
    287: "lynx",
    504: "coffee mug",
    657: "missile",
    744: "projectile",
    812: "space shuttle",
    849: "teapot",
    925: "consomme",
    960: "chocolate sauce",
    967: "espresso",
    968: "cup",
}
# Each photograph shows one thing, for which ImageNet has several fine classes.
EXPECTED = {
    "cat": {281, 282, 285},
    "coffee": {504, 967, 968},
    "rocket": {657, 744, 812},
}


def inputs() -> dict[str, NDArray[np.float32]]:
    """The three photographs: float32 [3, 3, 224, 224]."""
    return {"image": np.stack([prepare(centre(photograph(name))) for name in EXPECTED])}


def show(outputs: dict[str, NDArray[np.float32]]) -> list[str]:
    """One line a photograph: its best class and the probability."""
    lines = []
    for name, logits in zip(EXPECTED, outputs["logits"], strict=True):
        powers = np.exp(logits - logits.max())
        best = int(logits.argmax())
        lines.append(f"{name}: {LABELS.get(best, 'another class')} (class {best}, {powers[best] / powers.sum():.0%})")
    return lines


def check(outputs: dict[str, NDArray[np.float32]]) -> None:
    """Raise ValueError where a photograph is not recognised."""
    for (name, classes), logits in zip(EXPECTED.items(), outputs["logits"], strict=True):
        best = int(logits.argmax())
        if best not in classes:
            raise ValueError(f"photograph '{name}' came back as class {best}, expected one of {sorted(classes)}")
