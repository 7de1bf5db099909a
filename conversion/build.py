"""Make the twin of one model: load the original, export, optimise, prove. Nothing here touches the repository."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import onnx

from python_backend.original.bundle import Tensor
from python_backend.original.errors import DtypeUnknown, OriginalError, first_line
from python_backend.original.loading import Device, OriginalModel, load, tensors_of
from python_backend.original.tensorflow_runtime import TensorFlowModel

from .bundling import make_bundle
from .dtypes import DTYPES
from .errors import ArtefactError, ConversionError, ExportFailed, ParityBroken, RowsMixed, UnsupportedDtype
from .export_tensorflow import export_tensorflow
from .export_torch import export_torch
from .golden import GOLDEN, golden_case, write_golden
from .graph import check_servable, describe, tensor_facts
from .interface import Facts, input_facts, output_names
from .optimise import PassResult, run_passes
from .parity import Case, Parity, Twin, compare, prove
from .rewrite import declare, save
from .samples import Batch, batch_maker
from .spec import ModelSpec
from .timing import Timing, time_pair

__all__ = ["Built", "build"]

_log = logging.getLogger(__name__)

Report = Callable[[str], None]


@dataclass(frozen=True)
class Built:
    """A twin that holds: its interface and the proof. onnx/, original/ and golden.npz lie in the work folder."""

    inputs: tuple[Facts, ...]
    outputs: tuple[Facts, ...]
    exporter: str
    attempts: tuple[tuple[str, str], ...]
    passes: tuple[PassResult, ...]
    parity: Parity
    timing: Timing
    graph: dict[str, Any]


@dataclass(frozen=True)
class _Subject:
    """The original with all that is known of it."""

    spec: ModelSpec
    model: OriginalModel
    inputs: tuple[Facts, ...]
    outputs: tuple[str, ...]
    make: Callable[[int, int], Batch]
    scratch: Path

    @property
    def batched(self) -> bool:
        return self.spec.serving.max_batch_size > 0

    @property
    def trace_batch(self) -> Batch:
        # One row would be taken for a constant by an exporter that traces.
        return self.make(2 if self.batched else 1, 0)


def build(spec: ModelSpec, work: Path, report: Report) -> Built:
    """Build the twin of `spec` in the empty folder `work`. Raises a subclass of ConversionError."""
    report("loading the original")
    subject = _load(spec, work)
    report(f"running the original on batches of {', '.join(map(str, spec.batch_sizes))}")
    cases, golden = _cases(subject)
    exporter, graph, attempts = _export(subject, cases, report)
    passes: tuple[PassResult, ...] = ()
    if spec.export.optimise:
        report("optimising the graph")
        graph, passes = run_passes(graph, lambda changed: _broken(subject, changed, cases))
    target = work / "onnx" / "model.onnx"
    target.parent.mkdir()
    save(graph, target, spec.export.external_data)
    report("proving parity of the file that will be served")
    # From the file, by the path: what is proved is what is published, sidecars and all.
    twin = Twin(str(target), spec.serving.original_threads)
    parity = prove(twin, cases, spec.parity)
    if parity.failures:
        raise ParityBroken(spec.name, parity.failures)
    write_golden(golden, work / GOLDEN)
    report("timing twin and original")
    row = cases[0].inputs
    timing = time_pair(lambda: subject.model.run(row), lambda: twin.run(row), spec.serving.original_threads)
    outputs = tuple(tensor_facts(value) for value in graph.graph.output)
    info = asdict(describe(graph, target))
    return Built(subject.inputs, outputs, exporter, attempts, passes, parity, timing, info)


def _load(spec: ModelSpec, work: Path) -> _Subject:
    directory = work / "original"
    directory.mkdir(parents=True)
    bundle = make_bundle(spec, directory)
    device = Device(threads=spec.serving.original_threads)
    try:
        model = load(directory, device)
        inputs = input_facts(spec, model.inputs)
        make = batch_maker(spec, inputs)
        bundle = replace(bundle, inputs=tuple(fact.tensor for fact in inputs), outputs=model.outputs)
        model.inputs = bundle.inputs
        found = model.run(make(2 if spec.serving.max_batch_size else 1, 0))
    except DtypeUnknown as error:
        raise UnsupportedDtype(error.output, error.dtype, DTYPES) from error
    except OriginalError as error:
        raise ArtefactError(f"{spec.name}: {error}") from error
    names = output_names(spec, list(found))
    outputs = tuple(Tensor(name, t.dtype, t.shape) for name, t in zip(names, tensors_of(found), strict=True))
    for tensor in outputs:
        if tensor.dtype not in DTYPES:
            raise UnsupportedDtype(tensor.name, tensor.dtype, DTYPES)
    replace(bundle, outputs=outputs).write(directory)
    # Loaded again as Triton will load it: from the manifest, with the names that are served.
    model = load(directory, device)
    return _Subject(spec, model, inputs, names, make, work)


def _cases(subject: _Subject) -> tuple[list[Case], Case]:
    """All cases that the twin has to hold in, and the one of them that the release keeps."""
    sizes = subject.spec.batch_sizes if subject.batched else (1, 1)
    try:
        cases = []
        for number, size in enumerate(sizes):
            batch = subject.make(size, number)
            cases.append(Case(batch, subject.model.run(batch)))
        golden = golden_case(cases, subject.batched, subject.model.run)
    except OriginalError as error:
        raise ArtefactError(f"{subject.spec.name}: on a batch of {size}, {error}") from error
    if subject.batched:
        _refuse_mixed_rows(subject, next((case for case in cases if case.rows > 1), cases[0]))
    return (cases if any(case is golden for case in cases) else [*cases, golden]), golden


def _refuse_mixed_rows(subject: _Subject, case: Case) -> None:
    """Batching is only for models that treat each row alone: a batch has to give what its rows give one by one."""
    for name, value in case.expected.items():
        if value.shape[:1] != (case.rows,):
            raise RowsMixed(name, f"has the shape {list(value.shape)} for a batch of {case.rows}")
    if case.rows == 1:
        return
    alone = {name: array[:1] for name, array in case.inputs.items()}
    expected = {name: value[:1] for name, value in case.expected.items()}
    for comparison in compare(Case(alone, subject.model.run(alone)), expected, subject.spec.parity):
        if comparison.failure:
            raise RowsMixed(comparison.output, f"changes with the other rows of its batch ({comparison.failure})")


def _export(
    subject: _Subject, cases: Sequence[Case], report: Report
) -> tuple[str, onnx.ModelProto, tuple[tuple[str, str], ...]]:
    """The first exporter whose graph holds, and why those before it did not."""
    attempts: list[tuple[str, str]] = []
    deepest: ConversionError | None = None
    for exporter in subject.spec.exporters:
        report(f"exporting with {exporter}")
        try:
            graph = _export_with(exporter, subject)
        # Exporters have no error base class: anything means that this one cannot.
        except Exception as error:  # noqa: BLE001
            _log.warning("%s could not export %s", exporter, subject.spec.name, exc_info=True)
            attempts.append((exporter, first_line(error)))
            continue
        try:
            declare(graph, subject.inputs, subject.batched)
            check_servable(graph, subject.inputs, subject.batched)
            parity = prove(Twin(graph, subject.spec.serving.original_threads), cases, subject.spec.parity)
            if parity.failures:
                raise ParityBroken(subject.spec.name, parity.failures)
        except ConversionError as error:
            attempts.append((exporter, str(error)))
            deepest = error
            continue
        return exporter, graph, tuple(attempts)
    raise deepest or ExportFailed(subject.spec.name, attempts)


def _export_with(exporter: str, subject: _Subject) -> onnx.ModelProto:
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


def _broken(subject: _Subject, graph: onnx.ModelProto, cases: Sequence[Case]) -> str | None:
    """Why an optimised graph does not hold, None where it does."""
    try:
        declare(graph, subject.inputs, subject.batched)
        check_servable(graph, subject.inputs, subject.batched)
    except ConversionError as error:
        return str(error)
    failures = prove(Twin(graph, subject.spec.serving.original_threads), cases, subject.spec.parity).failures
    return failures[0] if failures else None
