"""What the callers of a load test ask, and the right answers: a release's golden samples, row by row.

Where no release can be read, made-up values are asked, and the answers of the original count as right.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.wire import Answer, Arrays, Tolerance, difference, random_inputs
from python_backend.tolerance import is_amount
from serving.samples import of_kind
from serving.watch.rounds import GOLDEN

EVIDENCE = "evidence.json"
# How far an answer to made-up values may be from the original's: no release says how far is near enough.
_TOLERANCE = Tolerance(1e-3, 1e-3)
_MADE_UP = 4


class NoQuestions(Exception):
    """There is nothing to ask: one sentence says why."""


@dataclass(frozen=True)
class Question:
    """One row to ask, and the answer that is right within `tolerance`."""

    inputs: Arrays
    right: Answer
    tolerance: Tolerance

    def wrong(self, answer: Answer) -> str | None:
        """What is wrong with an answer, in words; None if nothing."""
        return difference(answer, self.right, self.tolerance, None)


def from_release(folder: Path, *, batched: bool) -> list[Question]:
    """The golden samples of a hybrid's version folder, a question a row, as the graph takes them. Raises NoQuestions.

    Without a batch dimension all of them are one question.
    """
    path = folder / GOLDEN
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            inputs, outputs = _of_kind(archive, "input"), _of_kind(archive, "output")
        parity = json.loads((folder / EVIDENCE).read_text(encoding="utf-8"))["parity"]
        atol, rtol = float(parity["atol"]), float(parity["rtol"])
        # Releases of schema 1 had no third part.
        of_largest = float(parity.get("of_largest", 0.0))
    # Of a damaged file NumPy raises whatever its parsers do.
    except Exception as error:
        raise NoQuestions(
            f"{folder} holds no golden samples with their evidence ({error}); convert the model"
        ) from error
    rows = range(len(next(iter(inputs.values()), []))) if batched else [...]
    if not inputs or not outputs or not rows:
        raise NoQuestions(f"{path} holds no sample; convert the model")
    # The largest of the whole output, as the release was proved.
    slack = {name: of_largest * _largest(array) for name, array in outputs.items() if is_amount(array.dtype)}
    tolerance = Tolerance(atol, rtol, slack)
    return [Question(_row(inputs, row), Answer(_row(outputs, row), frozenset()), tolerance) for row in rows]


def announced(questions: Iterable[Question], config: Any) -> list[Question]:
    """The same as Triton asks and answers them by a ModelConfig message: a scalar in each row is one element there."""
    dims = {tensor.name: len(tensor.dims) + (config.max_batch_size > 0) for tensor in (*config.input, *config.output)}

    def of(arrays: Arrays) -> dict[str, NDArray[Any]]:
        return {
            name: array.reshape(*array.shape, 1) if array.ndim == dims.get(name, 0) - 1 else array
            for name, array in arrays.items()
        }

    return [replace(one, inputs=of(one.inputs), right=Answer(of(one.right.outputs), frozenset())) for one in questions]


def made_up(config: Any, ask_original: Callable[[Arrays], Answer]) -> list[Question]:
    """Questions that fit a ModelConfig message; `ask_original` gives the original's answer to the inputs of one."""
    asked = [random_inputs(config, seed) for seed in range(_MADE_UP)]
    return [Question(inputs, Answer(ask_original(inputs).outputs, frozenset()), _TOLERANCE) for inputs in asked]


def _of_kind(arrays: Mapping[str, NDArray[Any]], kind: str) -> dict[str, NDArray[Any]]:
    found = of_kind(arrays, kind)
    return {name: array.astype(np.object_) if array.dtype.kind == "S" else array for name, array in found.items()}


def _largest(array: NDArray[Any]) -> float:
    return float(np.abs(array[np.isfinite(array)].astype(np.float64)).max(initial=0.0))


def _row(arrays: Mapping[str, NDArray[Any]], row: Any) -> dict[str, NDArray[Any]]:
    return {name: array if row is ... else array[row : row + 1] for name, array in arrays.items()}
