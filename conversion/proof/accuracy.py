"""How often original and twin are right, or agree where nobody knows what is right, and what the twin loses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from python_backend.original.errors import OriginalError, first_line
from python_backend.original.factory import find_callable

from ..errors import ArtefactError
from ..interface import Facts
from ..spec import ModelSpec
from .agreement import agreement, classes, cosine
from .arrays import check_arrays, made_arrays, read_arrays
from .samples import Batch

__all__ = ["AGREEMENT", "Accuracy", "Labelled", "Scorer", "labelled", "loss_of"]

AGREEMENT = "agreement"
TOP1 = "top1"
LABELS = "labels"
_NORMAL_95 = 1.959964
# The most rows of one call: large enough to be quick, small enough for any memory.
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
            f"it loses {self.loss:.3%} of {self.metric} on {self.items} items (95 % interval {low:.2%} to {high:.2%}), "
            f"allowed are {self.max_loss:.3%}"
        )


@dataclass(frozen=True)
class Labelled:
    """Inputs, all of the same number of rows, and a label for each (None where there are none).

    `at_once` is how many rows a call may have: no more than the model is served with.
    """

    inputs: Batch
    labels: NDArray[Any] | None
    at_once: int = _ROWS

    @property
    def items(self) -> int:
        """The number of rows."""
        return len(next(iter(self.inputs.values())))

    def batches(self) -> Iterator[tuple[Batch, slice]]:
        """All rows in order, a few at a time, and where they stand."""
        for start in range(0, self.items, self.at_once):
            rows = slice(start, start + self.at_once)
            yield {name: array[rows] for name, array in self.inputs.items()}, rows


class Scorer:
    """Scores twins against one original, which is run once.

    Raises what `original` raises, and ArtefactError for a metric that is broken or that calls the original wrong on
    every row (labels that do not fit would let any twin pass), and for an output that has no classes.
    """

    def __init__(self, spec: ModelSpec, data: Labelled, original: Run) -> None:
        self._wanted = spec.accuracy
        self._data = data
        self._score = None if data.labels is None else _score(spec)
        self._answers: list[Batch] = []
        if self._score is None:
            for batch, _ in data.batches():
                self._answers.append(original(batch))
                if self._wanted.output:
                    # Now, and not when a twin is weighed, which may be after the whole search.
                    classes(self._answers[-1], self._wanted.output)
            self._scores = np.ones(data.items)
            return
        self._scores = self._scored(self._score, original)
        if not self._scores.any():
            raise ArtefactError(
                f"{spec.name}: by accuracy.metric '{self._metric}' the original is wrong on all {data.items} rows; "
                "correct the labels, the metric or the output that it looks at"
            )

    def accuracy(self, twin: Run) -> Accuracy:
        """The twin's accuracy beside the original's. Raises what `twin` raises, ArtefactError for a broken metric."""
        near = None
        if self._score is None:
            found, near = self._agreeing(twin)
        else:
            found = self._scored(self._score, twin)
        loss, interval = loss_of(self._scores, found)
        return Accuracy(
            metric=self._metric,
            items=self._data.items,
            original=float(self._scores.mean()),
            twin=float(found.mean()),
            loss=loss,
            interval=interval,
            max_loss=self._wanted.max_loss,
            cosine=near,
        )

    @property
    def _metric(self) -> str:
        return self._wanted.metric or (AGREEMENT if self._score is None else TOP1)

    def _agreeing(self, twin: Run) -> tuple[NDArray[np.float64], float]:
        same, near = [], []
        for answer, (batch, _) in zip(self._answers, self._data.batches(), strict=True):
            found = twin(batch)
            same.append(agreement(answer, found, self._wanted.output))
            near.append(cosine(answer, found))
        return np.concatenate(same), float(np.concatenate(near).mean())

    def _scored(self, score: Score, run: Run) -> NDArray[np.float64]:
        assert self._data.labels is not None
        scores = []
        for batch, rows in self._data.batches():
            labels = self._data.labels[rows]
            answer = run(batch)
            try:
                found = np.asarray(score(answer, labels), np.float64)
            except ArtefactError:
                raise
            # The metric is the user's code: whatever it raises is the news to pass on.
            except Exception as error:
                raise ArtefactError(f"accuracy.metric '{self._metric}': {first_line(error)}") from error
            if found.shape != (len(labels),) or not ((found >= 0) & (found <= 1)).all():
                raise ArtefactError(
                    f"accuracy.metric '{self._metric}' must give {len(labels)} scores from 0 to 1, one for each row; "
                    f"it gave {found.ravel()[:5].tolist()}… of shape {list(found.shape)}"
                )
            scores.append(found)
        return np.concatenate(scores)


def loss_of(original: NDArray[np.float64], twin: NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
    """Mean loss of paired scores from 0 to 1, float64 [rows] each, and its 95 % interval, within -1 and 1.

    The interval is Agresti's and Min's for matched proportions (Statistics in Medicine 24, 2005): half an item is added
    to each of the four cells, so that no difference among few items is not taken for certainty. For scores between 0
    and 1 the same amounts are added to the sums.
    """
    difference = original - twin
    count = len(difference) + 2
    middle = float(difference.sum()) / count
    variance = (float((difference**2).sum()) + 1) / count - middle**2
    reach = _NORMAL_95 * math.sqrt(max(variance, 0.0) / count)
    return float(difference.mean()), (max(middle - reach, -1.0), min(middle + reach, 1.0))


def labelled(spec: ModelSpec, samples: Callable[[int], Batch], inputs: Sequence[Facts] = ()) -> Labelled:
    """The data that accuracy is measured on; without any in the spec, `samples(rows)`. Raises ArtefactError.

    With `inputs` the data is held to them: each there, with its dtype and shape, and nothing else but labels.
    """
    wanted = spec.accuracy
    at_once = min(_ROWS, spec.serving.most_rows)
    if not (wanted.file or wanted.generator):
        if wanted.metric not in ("", AGREEMENT):
            raise _labels_missing(spec)
        return Labelled(samples(wanted.items), None, at_once)
    if wanted.file:
        arrays = read_arrays(spec, "accuracy.file", wanted.file)
    else:
        arrays = made_arrays(spec, "accuracy.generator", wanted.generator)
    labels = arrays.pop(LABELS, None)
    if inputs:
        _check_inputs(spec, arrays, inputs)
    counts = {array.shape[:1] for array in (*arrays.values(), *([] if labels is None else [labels]))}
    if len(counts) != 1 or counts & {(), (0,)}:
        raise ArtefactError(f"{spec.name}: the data of [accuracy] must have as many labels as rows, at least one")
    if wanted.metric == AGREEMENT:
        return Labelled(arrays, None, at_once)
    if labels is None and wanted.metric:
        raise _labels_missing(spec)
    if labels is not None and wanted.metric in ("", TOP1) and (labels.ndim != 1 or labels.dtype.kind not in "iub"):
        raise ArtefactError(
            f"{spec.name}: accuracy.metric top1 needs a class index for each row, whole numbers [rows], in '{LABELS}'; "
            f"found {labels.dtype.name}{list(labels.shape)}"
        )
    return Labelled(arrays, labels, at_once)


def _labels_missing(spec: ModelSpec) -> ArtefactError:
    return ArtefactError(
        f"{spec.name}: accuracy.metric '{spec.accuracy.metric}' needs an array '{LABELS}' in the data of [accuracy]"
    )


def _check_inputs(spec: ModelSpec, arrays: Batch, inputs: Sequence[Facts]) -> None:
    check_arrays(spec, f"the data of [accuracy] '{spec.accuracy.file or spec.accuracy.generator}'", arrays, inputs)
    extra = arrays.keys() - {fact.name for fact in inputs}
    if extra:
        raise ArtefactError(
            f"{spec.name}: the data of [accuracy] have '{min(extra)}', which is no input; labels are in an "
            f"array '{LABELS}'"
        )


def _right(found: NDArray[np.int64], labels: NDArray[Any]) -> NDArray[np.float64]:
    # Labels may be -1 for what nobody knows: a row without a class is not right there either.
    return np.asarray((found == labels) & (found >= 0), np.float64)


def _score(spec: ModelSpec) -> Score:
    wanted = spec.accuracy
    if wanted.metric in ("", TOP1):
        return lambda answer, labels: _right(classes(answer, wanted.output), labels)
    try:
        return find_callable(wanted.metric, spec.folder)
    except OriginalError as error:
        raise ArtefactError(f"{spec.name}: accuracy.metric: {error}") from error
