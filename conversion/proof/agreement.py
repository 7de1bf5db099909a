"""How near two answers to the same rows are, where nobody knows what is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from python_backend.strings import as_bytes

from ..errors import ArtefactError

__all__ = ["agreement", "classes", "cosine"]

Answer = Mapping[str, NDArray[Any]]

# What two answers without classes may differ by and be called the same, as a part of the original's length (Euclidean).
# At equal lengths it is a cosine similarity of 0.999.
_NEARLY_THE_SAME = 0.0447
# What every value may differ by besides: rounding, next to an answer of zeros.
_ROUNDING = 1e-6


def agreement(original: Answer, twin: Answer, output: str) -> NDArray[np.float64]:
    """1 for each row for which both name the same class and every output that is not float is equal, else 0.

    float64 [rows]. Where no output has classes, a row agrees if every float output is within 4.5 % of the original's
    length instead. In any case it does not where a float output is NaN or infinite and the original's is not, or the
    reverse. Raises ArtefactError where `output` is named and has no classes.
    """
    same = _alike_beyond_numbers(original, twin)
    classed = output or _class_output(original)
    if classed:
        same &= classes(original, output) == classes(twin, output)
    for name, expected in original.items():
        if name == classed:
            continue
        if expected.dtype.kind != "f":
            # Scores that are sorted have their largest in one place: which classes those are is told beside them.
            same &= (_comparable(expected) == _comparable(twin[name])).reshape(len(expected), -1).all(axis=1)
        elif not classed:
            a, b = _vectors(expected), _vectors(twin[name])
            allowed = _NEARLY_THE_SAME * np.linalg.norm(a, axis=1) + _ROUNDING * np.sqrt(a.shape[1])
            same &= np.linalg.norm(a - b, axis=1) <= allowed
    return np.asarray(same, np.float64)


def classes(answer: Answer, output: str) -> NDArray[np.int64]:
    """The class with the largest score for each row, int64 [rows], of `output` or else of the first that has classes.

    -1 where a score is NaN: none is the largest then. Classes are the one dimension beside the rows that is larger than
    1. Raises ArtefactError where there is none.
    """
    name = output or _class_output(answer)
    if name not in answer or not _has_classes(answer[name]):
        shapes = ", ".join(f"{each}{list(array.shape)}" for each, array in answer.items())
        found = f"output '{output}' has none" if output else "no output has any"
        raise ArtefactError(
            f"accuracy needs scores of classes, [rows, 2 or more], and {found}; name another one in accuracy.output or "
            f"give a function as accuracy.metric; the outputs are {shapes}"
        )
    scores = answer[name].reshape(len(answer[name]), -1)
    return np.where(np.isnan(scores).any(axis=1), -1, scores.argmax(axis=1)).astype(np.int64)


def cosine(original: Answer, twin: Answer) -> NDArray[np.float64]:
    """The least cosine similarity of a row's float outputs: float64 [rows], 1 where both are zero, 0 where one is.

    0 as well where one is NaN or infinite and the other is not.
    """
    least = _alike_beyond_numbers(original, twin).astype(np.float64)
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


def _alike_beyond_numbers(original: Answer, twin: Answer) -> NDArray[np.bool_]:
    """Whether the float outputs of each row are NaN, infinity and minus infinity in the same places: bool [rows]."""
    alike = np.ones(_rows(original), np.bool_)
    for name, expected in original.items():
        if expected.dtype.kind == "f":
            a, b = (np.where(np.isfinite(array), 0, array).reshape(len(array), -1) for array in (expected, twin[name]))
            alike &= ((a == b) | (np.isnan(a) & np.isnan(b))).all(axis=1)
    return alike


def _vectors(array: NDArray[Any]) -> NDArray[np.float64]:
    """One vector for each row: float64 [rows, values]. What is not finite counts as zero: it is compared by itself."""
    return np.nan_to_num(array.reshape(len(array), -1).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _comparable(array: NDArray[Any]) -> NDArray[Any]:
    """The same; strings as bytes, of which TensorFlow's are made and ONNX Runtime's are not."""
    if array.dtype.kind not in "OSU":
        return array
    return np.array([as_bytes(value) for value in array.flat], object).reshape(array.shape)
