"""How often original and twin are right, or agree where nobody knows what is right, and what the twin loses."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from python_backend.original.errors import first_line
from python_backend.original.factory import find_callable

from .errors import ArtefactError
from .samples import Batch
from .spec import AccuracySpec, ModelSpec

__all__ = ["AGREEMENT", "Accuracy", "Labelled", "Scorer", "labelled", "loss_of"]

AGREEMENT = "agreement"
TOP1 = "top1"
LABELS = "labels"
_NORMAL_95 = 1.959964
# The cosine similarity above which two answers without classes are taken for the same.
_NEARLY_THE_SAME = 0.999
# Rows of one call: large enough to be quick, small enough for any memory.
_ROWS = 25

Run = Callable[[Batch], Batch]
# One score from 0 to 1 for each row, from all outputs and the labels: float64 [rows].
Score = Callable[[Batch, NDArray[Any]], NDArray[np.float64]]


@dataclass(frozen=True)
class Accuracy:
    """Means over `items` rows, from 0 to 1. `loss` is original minus twin, with its 95 % `interval`.

    `metric` is top1, agreement, or the spec's own function. By agreement the original is always right, and `cosine` is
    the mean cosine similarity of the twin's outputs to the original's, None for other metrics.
    """

    metric: str
    items: int
    original: float
    twin: float
    loss: float
    interval: tuple[float, float]
    max_loss: float
    cosine: float | None = None

    @property
    def failure(self) -> str | None:
        """Why the twin is refused, None where it is not."""
        if self.loss <= self.max_loss:
            return None
        low, high = self.interval
        return (
            f"it loses {self.loss:.2%} of {self.metric} on {self.items} items (95 % interval {low:.2%} to {high:.2%}), "
            f"allowed are {self.max_loss:.2%}"
        )


@dataclass(frozen=True)
class Labelled:
    """Inputs, all of the same number of rows, and a label for each (None where there are none)."""

    inputs: Batch
    labels: NDArray[Any] | None

    @property
    def items(self) -> int:
        """The number of rows."""
        return len(next(iter(self.inputs.values())))

    def batches(self) -> Iterator[tuple[Batch, slice]]:
        """All rows in order, a few at a time, and where they stand."""
        for start in range(0, self.items, _ROWS):
            rows = slice(start, start + _ROWS)
            yield {name: array[rows] for name, array in self.inputs.items()}, rows


class Scorer:
    """Scores twins against one original, which is run once."""

    def __init__(self, spec: ModelSpec, data: Labelled, original: Run) -> None:
        self._wanted = spec.accuracy
        self._data = data
        self._answers = [original(batch) for batch, _ in data.batches()]
        self._score: Score | None = _metric(spec, data)
        self._scores = np.ones(data.items)
        if self._score is not None:
            self._scores = self._scored(self._answers)

    def accuracy(self, twin: Run) -> Accuracy:
        """The twin's accuracy beside the original's. Raises what `twin` raises, ArtefactError for a broken metric."""
        answers = [twin(batch) for batch, _ in self._data.batches()]
        cosine = None
        if self._score is None:
            pairs = list(zip(self._answers, answers, strict=True))
            found = np.concatenate([_agreement(*pair, self._wanted.output) for pair in pairs])
            cosine = float(np.mean(np.concatenate([_cosine(*pair) for pair in pairs])))
        else:
            found = self._scored(answers)
        loss, interval = loss_of(self._scores, found)
        return Accuracy(
            metric=self._wanted.metric or (AGREEMENT if self._score is None else TOP1),
            items=self._data.items,
            original=float(self._scores.mean()),
            twin=float(found.mean()),
            loss=loss,
            interval=interval,
            max_loss=self._wanted.max_loss,
            cosine=cosine,
        )

    def _scored(self, answers: list[Batch]) -> NDArray[np.float64]:
        assert self._score is not None
        assert self._data.labels is not None
        scores = []
        for answer, (_, rows) in zip(answers, self._data.batches(), strict=True):
            labels = self._data.labels[rows]
            try:
                found = np.asarray(self._score(answer, labels), np.float64)
            # The metric is the user's code: whatever it raises is the news to pass on.
            except Exception as error:
                raise ArtefactError(f"accuracy.metric '{self._wanted.metric}': {first_line(error)}") from error
            if found.shape != (len(labels),) or not ((found >= 0) & (found <= 1)).all():
                raise ArtefactError(
                    f"accuracy.metric '{self._wanted.metric}' must give {len(labels)} scores from 0 to 1, one for each "
                    f"row; it gave the shape {list(found.shape)}"
                )
            scores.append(found)
        return np.concatenate(scores)


def loss_of(original: NDArray[np.float64], twin: NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
    """Mean loss of paired scores from 0 to 1, and its 95 % interval.

    The interval is Agresti's and Min's for matched proportions (Statistics in Medicine 24, 2005): half an item is added
    to each of the four cells, so that no difference among few items is not taken for certainty. For scores between 0
    and 1 the same amounts are added to the sums.
    """
    difference = original - twin
    count = len(difference) + 2
    mean = float(difference.sum()) / count
    variance = (float((difference**2).sum()) + 1) / count - mean**2
    reach = _NORMAL_95 * math.sqrt(max(variance, 0.0) / count)
    return float(difference.mean()), (mean - reach, mean + reach)


def labelled(spec: ModelSpec, samples: Callable[[int], Batch]) -> Labelled:
    """The data that accuracy is measured on; without any in the spec, `samples(rows)`. Raises ArtefactError."""
    wanted = spec.accuracy
    if wanted.file:
        arrays = _from_file(spec, wanted)
    elif wanted.generator:
        arrays = _from_function(spec, wanted)
    else:
        return Labelled(samples(wanted.items), None)
    labels = arrays.pop(LABELS, None)
    counts = {len(array) for array in (*arrays.values(), *([labels] if labels is not None else []))}
    if len(counts) != 1 or 0 in counts:
        raise ArtefactError(f"{spec.name}: the data of [accuracy] must have as many labels as rows, at least one")
    if labels is None and wanted.metric not in ("", AGREEMENT):
        raise ArtefactError(f"{spec.name}: accuracy.metric '{wanted.metric}' needs an array '{LABELS}' in the data")
    return Labelled(arrays, None if wanted.metric == AGREEMENT else labels)


def _from_file(spec: ModelSpec, wanted: AccuracySpec) -> Batch:
    path = spec.folder / wanted.file
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError) as error:
        raise ArtefactError(f"{spec.name}: accuracy.file {path} is not a readable .npz: {error}") from error


def _from_function(spec: ModelSpec, wanted: AccuracySpec) -> Batch:
    try:
        made = find_callable(wanted.generator, spec.folder)()
        return {str(name): np.asarray(array) for name, array in made.items()}
    # The generator is the user's code: whatever it raises is the news to pass on.
    except Exception as error:
        raise ArtefactError(f"{spec.name}: accuracy.generator '{wanted.generator}': {first_line(error)}") from error


def _metric(spec: ModelSpec, data: Labelled) -> Score | None:
    wanted = spec.accuracy
    if data.labels is None:
        return None
    if wanted.metric in ("", TOP1):
        return lambda answer, labels: (_classes(answer, wanted.output) == labels).astype(np.float64)
    found: Score = find_callable(wanted.metric, spec.folder)
    return found


def _agreement(original: Batch, twin: Batch, output: str) -> NDArray[np.float64]:
    """Whether each row names the same class; where no output has classes, whether all values are nearly the same."""
    if output or _class_output(original):
        return np.asarray(_classes(original, output) == _classes(twin, output), np.float64)
    same: NDArray[np.bool_] = _cosine(original, twin) > _NEARLY_THE_SAME
    for name, expected in original.items():
        if expected.dtype.kind != "f":
            same &= (expected == twin[name]).reshape(len(expected), -1).all(axis=1)
    return np.asarray(same, np.float64)


def _class_output(answer: Mapping[str, NDArray[Any]]) -> str:
    """The first output that looks like scores of classes: float, [rows, 2 or more]."""
    return next((name for name, a in answer.items() if a.dtype.kind == "f" and a.ndim == 2 and a.shape[1] > 1), "")


def _classes(answer: Mapping[str, NDArray[Any]], output: str) -> NDArray[np.int64]:
    name = output or _class_output(answer)
    if name not in answer:
        raise ArtefactError(f"accuracy: no output '{name}' with scores of classes; name one of {', '.join(answer)}")
    return np.asarray(answer[name].reshape(len(answer[name]), -1).argmax(axis=1), np.int64)


def _cosine(original: Batch, twin: Batch) -> NDArray[np.float64]:
    """The least cosine similarity of a row's float outputs, 1 where both are zero: float64 [rows]."""
    rows = len(next(iter(original.values())))
    least = np.ones(rows)
    for name, expected in original.items():
        if expected.dtype.kind != "f":
            continue
        a = expected.reshape(rows, -1).astype(np.float64)
        b = twin[name].reshape(rows, -1).astype(np.float64)
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        equal = (a == b).all(axis=1).astype(np.float64)
        least = np.minimum(least, np.where(lengths > 0, (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1), equal))
    return np.asarray(least, np.float64)
