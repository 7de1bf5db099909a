"""What a candidate has to pass before it may race: a file that the server reads, parity, and accuracy."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import onnx

from python_backend.original.errors import first_line

from ..errors import ArtefactError, ConversionError
from ..graphs.graph import check_servable
from ..graphs.nesting import all_graphs
from ..graphs.rewrite import declare, loosen, save
from ..proof.accuracy import Scorer
from ..proof.parity import Case, Parity, Twin, prove
from ..proof.samples import Batch
from ..proof.sizes import no_answer, resized
from ..proof.stress import OTHER_SIZES, stress_tolerance
from ..proof.subject import Subject
from ..release.gpu_config import padded
from .candidates import Trial

__all__ = ["Gates"]

_PAST_A_BOUND = "past a bound of the export"


class Gates:
    """Holds trials to what the original answered. Files lie in `folder`, one folder a trial.

    Without a `scorer`, for models without rows, parity alone decides.
    """

    def __init__(self, subject: Subject, cases: Sequence[Case], scorer: Scorer | None, folder: Path) -> None:
        self._subject = subject
        self._cases = list(cases)
        self._scorer = scorer
        self._folder = folder
        self._made = 0
        self._on_gpu: dict[Path, Twin] = {}

    def prove_beyond(self, beyond: Sequence[dict[str, int]]) -> None:
        """Hold this trial and later ones to the original at these sizes of dynamic dimensions, where it has answers.

        They lie past what an exporter says its graph holds for: who asks for them gets no other error.
        """
        subject = self._subject
        for sizes in beyond:
            batch = resized(subject.inputs, subject.trace_batch, sizes)
            # Past a bound of its own the original has no answer that a twin could miss.
            with contextlib.suppress(ArtefactError):
                case = Case(batch, subject.run(batch), _PAST_A_BOUND)
                if no_answer(subject, case) is None:
                    self._cases.append(case)

    def by_size(self, parity: Parity) -> bool:
        """Whether a twin fails in sizes of dynamic dimensions alone that no sample has."""
        sized = {case.label for case in self._cases if case.stress in (OTHER_SIZES, _PAST_A_BOUND)}
        return sized >= {comparison.case for comparison in parity.comparisons if comparison.failure}

    def place(self) -> Path:
        """A path for the next trial's model.onnx, in an empty folder."""
        self._made += 1
        path = self._folder / str(self._made) / "model.onnx"
        path.parent.mkdir(parents=True)
        return path

    def admit(self, trial: Trial, graph: onnx.ModelProto) -> Trial:
        """Save the graph and hold it to parity; decides the fate of what fails."""
        return self.prove(self.save(trial, graph))

    def save(self, trial: Trial, graph: onnx.ModelProto) -> Trial:
        """Write the graph as it would be served; decides the fate of what no server could read."""
        answered = [{name: array.shape for name, array in case.expected.items()} for case in self._cases]
        try:
            loosen(graph, answered, self._subject.batched)
            declare(graph, self._subject.inputs, self._subject.batched, self._subject.target)
            check_servable(graph, self._subject.inputs, self._subject.batched, self._subject.target)
        except ConversionError as error:
            trial.error = error
            return trial.end("refused", str(error))
        trial.path = self.place()
        nodes = [node for one in all_graphs(graph.graph) for node in one.node]
        trial.nodes, trial.operators = len(nodes), tuple(sorted({node.op_type for node in nodes}))
        save(graph, trial.path, self._subject.spec.export.external_data)
        trial.bytes = sum(file.stat().st_size for file in trial.path.parent.iterdir())
        return trial

    def prove(self, trial: Trial) -> Trial:
        """Hold a trial that was saved to parity; decides its fate where it does not hold."""
        if not trial.alive:
            return trial
        try:
            # From the file, by the path: what is proved is what is published, sidecars and all.
            trial.parity = self._prove(trial)
        # ONNX Runtime's classes come from C++ and share no base but Exception.
        except Exception as error:  # noqa: BLE001
            return self.discard(trial.end("failed", f"ONNX Runtime does not load it: {first_line(error)}"))
        if trial.parity.failures:
            return self.discard(trial.end("parity", trial.parity.failures[0]))
        return trial

    def weigh(self, trial: Trial) -> Trial:
        """Measure the accuracy of a trial that holds, once; decides its fate where it loses too much."""
        if trial.alive and trial.accuracy is None and self._scorer is not None:
            try:
                trial.accuracy = self._scorer.accuracy(self.twin(trial).run)
            # Of a metric that copes with what the original answers, and not with the twin's: it is the user's to mend.
            except ArtefactError as error:
                told = f"the accuracy of {trial.name} cannot be measured: {error}"
                trial.error = ArtefactError(f"{self._subject.spec.name}: {told}")
                return self.discard(trial.end("failed", f"its accuracy cannot be measured: {error}"))
            # ONNX Runtime's classes come from C++ and share no base but Exception.
            except Exception as error:  # noqa: BLE001
                reason = f"its accuracy cannot be measured: {first_line(error)}"
                return self.discard(trial.end("failed", reason))
            if trial.accuracy.failure:
                self.discard(trial.end("accuracy", trial.accuracy.failure))
        return trial

    def twin(self, trial: Trial) -> Twin:
        """The trial's file in ONNX Runtime where it would be served, with as many threads as the original has."""
        subject = self._subject
        where = subject.profile(trial.candidate.precision, trial.operators)
        assert trial.path is not None
        if trial.path in self._on_gpu:
            return self._on_gpu[trial.path]
        sizes = padded(trial.operators, subject.spec.serving.max_batch_size)
        twin = Twin(str(trial.path), subject.threads, where.providers, sizes)
        if where.gpu is not None:
            # Kept: there a session takes seconds to plan for the sizes that it meets.
            self._on_gpu[trial.path] = twin
        return twin

    def run_file(self, path: Path, batch: Batch) -> Batch:
        """One batch through a graph that is no candidate."""
        return Twin(str(path), self._subject.threads).run(batch)

    def _prove(self, trial: Trial) -> Parity:
        precision = trial.candidate.precision
        twin = self.twin(trial)
        tolerance = self._subject.spec.parity.tolerance(precision)
        stressed = [case for case in self._cases if case.stress]
        if precision.startswith("int8"):
            # Eight bits end where the calibrated ranges do: beyond them only accuracy can judge. Ten bits of a product
            # are as good for large ones, and where half precision ends, at 65504, is what these inputs are to find.
            stressed = [case for case in stressed if case.stress != "large"]
        plain = [case for case in self._cases if not case.stress]
        found = prove(twin, plain, tolerance).comparisons
        return Parity((*found, *prove(twin, stressed, stress_tolerance(tolerance)).comparisons))

    def discard(self, trial: Trial) -> Trial:
        """A graph that lost takes no more disk."""
        if trial.path is not None:
            self._on_gpu.pop(trial.path, None)
            shutil.rmtree(trial.path.parent, ignore_errors=True)
            trial.path = None
        return trial
