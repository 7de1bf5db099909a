"""How near two answers to the same rows are, where nobody knows what is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArtefactError

__all__ = ["agreement", "classes", "cosine"]

Answer = Mapping[str, NDArray[Any]]

# What two answers without classes may differ by and be called the same, as a part of the original's length (Euclidean).
# At equal lengths it is a cosine similarity of 0.999.
_NEARLY_THE_SAME = 0.0447
# What every value may differ by besides: rounding, next to an answer of zeros.
_ROUNDING = 1e-6


def agreement(original: Answer, twin: Answer, output: str) -> NDArray[np.float64]:
    """1 for each row for which both name the same class, else 0: float64 [rows].

    Where no output has classes, a row agrees if every float output is within 4.5 % of the original's length and every
    other output is equal. Raises ArtefactError where `output` is named and has no classes.
    """
    if output or _class_output(original):
        return np.asarray(classes(original, output) == classes(twin, output), np.float64)
    same = np.ones(_rows(original), np.bool_)
    for name, expected in original.items():
        if expected.dtype.kind == "f":
            a, b = _vectors(expected), _vectors(twin[name])
            allowed = _NEARLY_THE_SAME * np.linalg.norm(a, axis=1) + _ROUNDING * np.sqrt(a.shape[1])
            same &= np.linalg.norm(a - b, axis=1) <= allowed
        else:
            same &= (expected == twin[name]).reshape(len(expected), -1).all(axis=1)
    return np.asarray(same, np.float64)


def classes(answer: Answer, output: str) -> NDArray[np.int64]:
    """The class with the largest score for each row, int64 [rows], of `output` or else of the first that has classes.

    Classes are the one dimension beside the rows that is larger than 1. Raises ArtefactError where there is none.
    """
    name = output or _class_output(answer)
    if name not in answer or not _has_classes(answer[name]):
        shapes = ", ".join(f"{each}{list(array.shape)}" for each, array in answer.items())
        found = f"output '{output}' has none" if output else "no output has any"
        raise ArtefactError(
            f"accuracy needs scores of classes, [rows, 2 or more], and {found}; name another one in accuracy.output or "
            f"give a function as accuracy.metric; the outputs are {shapes}"
        )
    return np.asarray(answer[name].reshape(len(answer[name]), -1).argmax(axis=1), np.int64)


def cosine(original: Answer, twin: Answer) -> NDArray[np.float64]:
    """The least cosine similarity of a row's float outputs: float64 [rows], 1 where both are zero, 0 where one is."""
    least = np.ones(_rows(original))
    for name, expected in original.items():
        if expected.dtype.kind != "f":
            continue
        a, b = _vectors(expected), _vectors(twin[name])
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        equal = (a == b).all(axis=1).astype(np.float64)
        least = np.minimum(least, np.where(lengths > 0, (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1), equal))
    return np.asarray(least, np.float64)


def _class_output(answer: Answer) -> str:
    """The first output that looks like scores of classes: float, [rows, 2 or more]."""
    return next((name for name, a in answer.items() if a.dtype.kind == "f" and a.ndim == 2 and a.shape[1] > 1), "")


def _has_classes(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "fiu" and sum(size > 1 for size in array.shape[1:]) == 1


def _rows(answer: Answer) -> int:
    return len(next(iter(answer.values())))


def _vectors(array: NDArray[Any]) -> NDArray[np.float64]:
    """One vector for each row: float64 [rows, values]. What is not finite is left to parity and counts as zero."""
    return np.nan_to_num(array.reshape(len(array), -1).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
