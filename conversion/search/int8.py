"""The search among eight-bit twins of one float graph: cheap checks first, precision kept where its loss would cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx

from python_backend.original.errors import first_line

from ..proof.parity import Case
from ..proof.samples import Batch
from .candidates import Trial
from .gates import Gates
from .quantise import CALIBRATIONS, Quantiser

__all__ = ["Int8Search"]

# Rows that ranges are computed from. More change them little; histograms of all layers take memory for each.
_CALIBRATED_ROWS = 32
# An eight-bit twin that is hardly faster is not worth what it loses.
_GAIN = 1.05
# So many times the loss that is allowed is near enough for a search to go on.
_NEAR = 20

# Whether a trial is faster than the float one: its ratio of times, above 1 where it is.
Faster = Callable[[Trial], float]
InTime = Callable[[], bool]


class Int8Search:
    """Looks for an eight-bit twin that is faster than the float one and loses no accuracy to speak of."""

    def __init__(self, gates: Gates, float_trial: Trial, case: Case, folder: Path, *, rival: str = "") -> None:
        self._gates = gates
        self._float = float_trial
        self._case = case
        self._quantiser: Quantiser | None = None
        self._folder = folder
        # What `faster` compares with, where that is not the float twin itself.
        self._rival = rival or float_trial.name

    def trials(self, faster: Faster, in_time: InTime, *, thorough: bool) -> Iterator[Trial]:
        """Every trial that was made, its fate decided unless it holds and is faster: then it is the last one.

        Unless `thorough`, one more calibration is tried, and layers are kept in float only where that may be enough.
        """
        first = self._trial(CALIBRATIONS[0])
        # Neither another calibration nor more float layers would make it faster.
        hopeless = not first.alive or not self._worth_it(first, faster)
        yield self._judged(first)
        if hopeless or first.alive:
            return
        for calibration in CALIBRATIONS[1:] if thorough else CALIBRATIONS[1:2]:
            if not in_time():
                return
            trial = self._judged(self._trial(calibration))
            yield trial
            if trial.alive:
                return
        if thorough or _near(first):
            yield from self._with_layers_kept(faster, in_time)

    def _with_layers_kept(self, faster: Faster, in_time: InTime) -> Iterator[Trial]:
        """Keep the layers that cost most in float: one, two, four, … of them."""
        ranked = self._ranked_layers(in_time)
        count = 1
        while count <= len(ranked) // 2 and in_time():
            trial = self._trial(CALIBRATIONS[0], tuple(ranked[:count]))
            hopeless = trial.alive and not self._worth_it(trial, faster)
            yield self._judged(trial)
            if hopeless or trial.alive:
                return
            count *= 2

    def _judged(self, trial: Trial) -> Trial:
        return self._gates.weigh(self._gates.prove(trial))

    def _worth_it(self, trial: Trial, faster: Faster) -> bool:
        try:
            gain = faster(trial)
        # A graph that ONNX Runtime does not load or run: it was not proved yet.
        except Exception as error:  # noqa: BLE001
            self._gates.discard(trial.end("failed", first_line(error)))
            return False
        if gain < _GAIN:
            self._gates.discard(trial.end("slower", f"{gain:.2f} times as fast as {self._rival}"))
        return gain >= _GAIN

    def _trial(self, calibration: str, kept: tuple[str, ...] = ()) -> Trial:
        """A quantised graph, saved and not yet judged."""
        trial = self._float.quantised("int8", calibration, kept)
        target = self._folder / "quantised.onnx"
        try:
            self._made_by().quantise(calibration, kept, target)
            graph = onnx.load(target)
        # The quantiser has no error base class: anything means that it cannot.
        except Exception as error:  # noqa: BLE001
            return trial.end("failed", first_line(error))
        return self._gates.save(trial, graph)

    def _ranked_layers(self, in_time: InTime) -> list[str]:
        """The layers by what quantising each one alone does to the outputs, the worst first; none once time is up."""
        quantiser = self._made_by()
        harm = {}
        for layer in quantiser.layers:
            if not in_time():
                return []
            target = self._folder / "one-layer.onnx"
            try:
                quantiser.quantise(CALIBRATIONS[0], (), target, only=layer)
                harm[layer] = _difference(self._gates.run_file(target, self._case.inputs), self._case.expected)
            # What cannot be quantised or run is the first to be left alone.
            except Exception:  # noqa: BLE001
                harm[layer] = math.inf
        return sorted(harm, key=harm.__getitem__, reverse=True)

    def _made_by(self) -> Quantiser:
        if self._quantiser is None:
            assert self._float.path is not None
            rows = [
                {name: array[row : row + 1] for name, array in self._case.inputs.items()}
                for row in range(min(self._case.rows, _CALIBRATED_ROWS))
            ]
            self._quantiser = Quantiser(self._float.path, rows, self._folder)
        return self._quantiser


def _near(trial: Trial) -> bool:
    """Whether a trial loses so little too much that a few layers may make the difference."""
    return trial.accuracy is not None and trial.accuracy.loss <= _NEAR * trial.accuracy.max_loss


def _difference(found: Batch, expected: Batch) -> float:
    """The largest relative root mean square error of any float output."""
    worst = 0.0
    for name, array in expected.items():
        if array.dtype.kind == "f":
            error = float(np.sqrt(np.mean((found[name].astype(np.float64) - array) ** 2)))
            worst = max(worst, error / (float(np.std(array)) or 1.0))
    return worst
