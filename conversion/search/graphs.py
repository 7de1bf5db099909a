"""Float graphs: what each exporter gives, and what rewriting makes of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

import onnx

from python_backend.original.errors import first_line
from python_backend.original.tensorflow_runtime import TensorFlowModel

from ..errors import ConversionError
from ..exporting.from_tensorflow import export_tensorflow
from ..exporting.from_torch import export_torch
from ..graphs.optimise import REWRITES
from ..proof.subject import Subject
from .candidates import Candidate, Trial
from .gates import Gates

__all__ = ["GraphMaker"]

_log = logging.getLogger(__name__)


class GraphMaker:
    """Makes float candidates and holds them to parity; once one holds, only as long as `in_time`."""

    def __init__(
        self, subject: Subject, gates: Gates, report: Callable[[str], None], in_time: Callable[[], bool]
    ) -> None:
        self._subject = subject
        self._gates = gates
        self._report = report
        self._in_time = in_time
        self._trials: list[Trial] = []

    def make(self, trials: list[Trial]) -> list[Trial]:
        """Every float graph that holds, or the most rewritten one where nothing is searched for.

        `trials` gets all that were made, in their order.
        """
        self._trials = trials
        made = [trial for exporter in self._subject.spec.exporters for trial in self._of_exporter(exporter)]
        held = [trial for trial in made if trial.alive]
        if self._subject.spec.search.level == "off":
            for trial in held[:-1]:
                trial.end("skipped", f"it holds, and so does {held[-1].name}; nothing is raced, the search is off")
        return [trial for trial in held if trial.alive]

    def _of_exporter(self, exporter: str) -> list[Trial]:
        """The exporter's graph and what rewriting makes of it, each that holds made from the last one that did."""
        enough = self._subject.spec.search.level == "off" or not self._in_time()
        if enough and any(trial.alive for trial in self._trials):
            return []
        self._report(f"exporting with {exporter}")
        trial = self._kept(Trial(Candidate(exporter)))
        try:
            graph = self._export(exporter)
        except ConversionError as error:
            trial.error = error
            trial.end("failed", str(error))
            return []
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
            search = self._subject.spec.search
            if search.level not in step.levels or (step.for_cpu and search.profile != "cpu"):
                continue
            if not self._in_time():
                break
            self._report(f"rewriting the graph of {trial.candidate.exporter}: {step.name}")
            try:
                changed = step.apply(graph)
            # A simplifier that fails on a graph costs that graph its simplification, never the release.
            except Exception as error:  # noqa: BLE001
                self._kept(Trial(Candidate(trial.candidate.exporter, (*done, step.name)))).end(
                    "failed", first_line(error)
                )
                continue
            if changed.graph == graph.graph:
                continue
            attempt = self._kept(Trial(Candidate(trial.candidate.exporter, (*done, step.name))))
            made.append(self._gates.admit(attempt, changed))
            if attempt.alive:
                graph, done = changed, (*done, step.name)
        return made

    def _export(self, exporter: str) -> onnx.ModelProto:
        subject = self._subject
        opset = subject.spec.export.opset
        if exporter == "tf2onnx":
            return export_tensorflow(cast(TensorFlowModel, subject.model), subject.inputs, subject.outputs, opset)
        graph, beyond = export_torch(
            exporter,
            subject.model,
            inputs=subject.inputs,
            outputs=subject.outputs,
            batch=subject.trace_batch,
            opset=opset,
            scratch=subject.scratch,
        )
        self._gates.prove_beyond(beyond)
        return graph

    def _kept(self, trial: Trial) -> Trial:
        self._trials.append(trial)
        return trial
