"""The order in which candidates are made, held to the gates, and raced: what is cheap and likely to win first."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import onnx

from python_backend.original.errors import first_line
from python_backend.original.tensorflow_runtime import TensorFlowModel

from ..errors import AccuracyLost, ExportFailed, ParityBroken
from ..export_tensorflow import export_tensorflow
from ..export_torch import export_torch
from ..optimise import REWRITES
from ..parity import Case
from ..spec import SearchSpec
from ..subject import Subject
from ..timing import Race, Timing, race
from .candidates import CHOSEN, Candidate, Trial
from .gates import Gates
from .int8 import Int8Search
from .quantise import multiplying_share, quantise_dynamic

__all__ = ["ORIGINAL", "Search"]

_log = logging.getLogger(__name__)

ORIGINAL = "original"
# Candidates whose first times are this much worse than the best one's do not race again.
_HOPELESS = 0.8
_FINALISTS = 3
# Below this part of all weights, dynamic quantisation has nothing to gain from.
_MOSTLY_MATRICES = 0.5
_QUICK = Race(least=5, most=20, seconds=2.0)
_FINAL = Race(least=5, most=40, seconds=15.0)


class Search:
    """One search. `trials` holds every candidate in the order in which it was made."""

    def __init__(
        self, subject: Subject, cases: Sequence[Case], gates: Gates, folder: Path, report: Callable[[str], None]
    ) -> None:
        self.trials: list[Trial] = []
        self._subject = subject
        self._cases = cases
        self._gates = gates
        self._folder = folder
        self._report = report
        self._wanted: SearchSpec = subject.spec.search
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._started

    def run(self) -> tuple[Trial, dict[int, Timing]]:
        """The winner, and the original's times in the last race. Raises ExportFailed, Unsupported, ParityBroken, …"""
        floats = [trial for exporter in self._subject.spec.exporters for trial in self._of_exporter(exporter)]
        floats = [trial for trial in floats if trial.alive]
        if not floats:
            self._raise_nearest()
        finalists = self._quick_race(floats)
        if self._wanted.level != "off":
            finalists += self._eight_bits(finalists[0])
        finalists = [trial for trial in finalists if self._weighed(trial).alive]
        if not finalists:
            self._raise_nearest()
        return self._final_race(finalists)

    def _of_exporter(self, exporter: str) -> list[Trial]:
        """The exporter's graph and what rewriting makes of it, each that holds made from the last one that did."""
        if self._wanted.level == "off" and any(trial.alive for trial in self.trials):
            return []
        self._report(f"exporting with {exporter}")
        trial = self._added(Trial(Candidate(exporter)))
        try:
            graph = self._export(exporter)
        # Exporters have no error base class: anything means that this one cannot.
        except Exception as error:  # noqa: BLE001
            _log.warning("%s could not export %s", exporter, self._subject.spec.name, exc_info=True)
            trial.end("failed", first_line(error))
            return []
        self._gates.admit(trial, graph)
        if not trial.alive or not self._subject.spec.export.optimise:
            return [trial]
        return [trial, *self._rewritten(trial, graph)]

    def _rewritten(self, trial: Trial, graph: onnx.ModelProto) -> list[Trial]:
        made: list[Trial] = []
        done: tuple[str, ...] = ()
        for step in REWRITES:
            if self._wanted.level not in step.levels:
                continue
            self._report(f"rewriting the graph of {trial.candidate.exporter}: {step.name}")
            try:
                changed = step.apply(graph)
            # A simplifier that fails on a graph costs that graph its simplification, never the release.
            except Exception as error:  # noqa: BLE001
                self._added(Trial(Candidate(trial.candidate.exporter, (*done, step.name)))).end(
                    "failed", first_line(error)
                )
                continue
            if changed.graph == graph.graph:
                continue
            attempt = self._added(Trial(Candidate(trial.candidate.exporter, (*done, step.name))))
            made.append(self._gates.admit(attempt, changed))
            if attempt.alive:
                graph, done = changed, (*done, step.name)
        return made

    def _export(self, exporter: str) -> onnx.ModelProto:
        subject = self._subject
        opset = subject.spec.export.opset
        if exporter == "tf2onnx":
            return export_tensorflow(cast(TensorFlowModel, subject.model), subject.inputs, subject.outputs, opset)
        return export_torch(
            exporter,
            subject.model,
            inputs=subject.inputs,
            outputs=subject.outputs,
            batch=subject.trace_batch,
            opset=opset,
            scratch=subject.scratch,
        )

    def _quick_race(self, trials: list[Trial]) -> list[Trial]:
        """The fastest few, the fastest first. Those that are left behind have been slower."""
        if len(trials) == 1:
            return trials
        self._report(f"racing {len(trials)} graphs")
        sizes = self._subject.spec.timed_sizes[:2]
        times = self._race([(trial.name, self._gates.twin(trial).run) for trial in trials], sizes, _QUICK)
        for trial in trials:
            trial.quick = {size: times[size][trial.name] for size in sizes}
        ranked = sorted(trials, key=lambda trial: self._objective(trial.quick), reverse=True)
        best = self._objective(ranked[0].quick)
        for trial in ranked[1:]:
            share = self._objective(trial.quick) / best
            if share < _HOPELESS or ranked.index(trial) >= _FINALISTS:
                trial.end("slower", f"{share:.2f} times as fast as {ranked[0].name} in the first race")
        return [trial for trial in ranked if trial.alive]

    def _eight_bits(self, best: Trial) -> list[Trial]:
        """The eight-bit twins of the best float graph that hold and are faster than it."""
        assert best.path is not None
        found = []
        wanted = self._wanted.precisions
        if "int8" in wanted and self._in_time():
            self._report(f"quantising {best.name}")
            search = Int8Search(self._gates, best, self._largest_case, self._folder / "int8")
            for trial in search.trials(
                lambda trial: self._gain(trial, best), self._in_time, 3 if self._wanted.level == "full" else 2
            ):
                self._added(trial)
                self._report(f"{trial.name}: {trial.fate or 'holds so far'} {trial.reason}".rstrip())
                found.append(trial)
        matrices = multiplying_share(onnx.load(best.path, load_external_data=False))
        if "int8_dynamic" in wanted and matrices >= _MOSTLY_MATRICES and self._in_time():
            found.append(self._added(self._dynamic(best)))
        return [trial for trial in found if trial.alive]

    def _dynamic(self, best: Trial) -> Trial:
        trial = best.quantised("int8_dynamic")
        target = self._folder / "dynamic.onnx"
        try:
            quantise_dynamic(cast(Path, best.path), target)
            graph = onnx.load(target)
        # The quantiser has no error base class: anything means that it cannot.
        except Exception as error:  # noqa: BLE001
            return trial.end("failed", first_line(error))
        if self._gates.admit(trial, graph).alive and (gain := self._gain(trial, best)) < 1:
            trial.end("slower", f"{gain:.2f} times as fast as {best.name}")
        return trial

    def _gain(self, trial: Trial, best: Trial) -> float:
        """How much faster than `best` a trial is."""
        sizes = self._subject.spec.timed_sizes[:2]
        runners = [(one.name, self._gates.twin(one).run) for one in (best, trial)]
        times = self._race(runners, sizes, _QUICK)
        trial.quick = {size: times[size][trial.name] for size in sizes}
        return self._objective(trial.quick)
