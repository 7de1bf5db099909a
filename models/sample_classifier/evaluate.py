"""Print how well the committed network names the held-out sounds.

    python models/sample_classifier/evaluate.py

Reads `sample_classifier.h5` and `held_out.npz`, and needs TensorFlow alone. Exit code 0 when the accuracy is 90 % or
more, 1 when it is lower.
"""

import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from families import FAMILIES
from held_out import load
from log_mel import picture
from numpy.typing import NDArray

__all__ = ["WEIGHTS", "confusion", "interval", "main", "predict", "report"]

WEIGHTS = Path(__file__).with_name("sample_classifier.h5")
REQUIRED = 0.90
NORMAL_95 = 1.96


def predict(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the committed network's probabilities, float32 [count, 12], for pictures, float32 [count, 128, 128, 3]."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    network = keras.saving.load_model(WEIGHTS, compile=False, safe_mode=True)
    return np.asarray(network.predict(pictures, batch_size=32, verbose=0))


def confusion(truth: NDArray[np.integer[Any]], answers: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Count answers: int64 [12 true families, 12 answered families]."""
    table = np.zeros((len(FAMILIES), len(FAMILIES)), dtype=np.int64)
    np.add.at(table, (truth, answers), 1)
    return table


def interval(right: int, count: int) -> tuple[float, float]:
    """Give Wilson's 95 % interval of a proportion (Wilson, 1927), from 0 to 1."""
    share, z2 = right / count, NORMAL_95**2
    middle = share + z2 / (2 * count)
    reach = NORMAL_95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return (middle - reach) / (1 + z2 / count), (middle + reach) / (1 + z2 / count)


def report(table: NDArray[np.int64]) -> list[str]:
    """Write the confusion table and the accuracy as lines of text."""
    right, count = int(table.trace()), int(table.sum())
    low, high = interval(right, count)
    lines = ["true \\ answer" + "".join(f"{family:>8}" for family in FAMILIES) + "   right"]
    for family, row in enumerate(table):
        cells = "".join(f"{number:>8}" if number else "       ." for number in row)
        lines.append(f"{FAMILIES[family]:<13}{cells}{row[family] / max(row.sum(), 1):>8.1%}")
    lines.append(f"held-out accuracy {right / count:.1%} ({right} of {count}; 95 % interval {low:.1%} to {high:.1%})")
    return lines


def main() -> int:
    """Print the report; give the exit code."""
    levels, truth = load()
    table = confusion(truth, predict(picture(levels)).argmax(axis=1))
    print("\n".join(report(table)))
    return 0 if table.trace() / table.sum() >= REQUIRED else 1


if __name__ == "__main__":
    sys.exit(main())
