"""PyTorch to ONNX: the dynamo exporter, and the older one that traces to TorchScript."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from python_backend.original.loading import OriginalModel

from ..errors import OutputsCollide
from ..interface import Facts
from ..proof.samples import Batch
from .branches import edges, refusing_branches

__all__ = ["export_torch"]


def export_torch(
    exporter: str,
    model: OriginalModel,
    *,
    inputs: Sequence[Facts],
    outputs: Sequence[str],
    batch: Batch,
    opset: int,
    scratch: Path,
) -> tuple[onnx.ModelProto, list[dict[str, int]]]:
    """Export `model` by one exporter, traced with `batch` (two rows or more, or the batch would be baked in).

    With the graph come sizes of dynamic dimensions, by name, that lie past what the exporter says it holds for.
    Raises OutputsCollide, BranchBaked, and whatever the exporter raises: it has no base class.
    """
    import torch

    beyond: list[dict[str, int]] = []
    path = scratch / f"{exporter}.onnx"
    arguments = tuple(torch.from_numpy(batch[fact.name]) for fact in inputs)
    options: dict[str, Any] = {
        "input_names": [fact.name for fact in inputs],
        "output_names": list(outputs),
        "opset_version": opset,
    }
    dynamic = {fact.name: {i: size for i, size in enumerate(fact.shape) if isinstance(size, str)} for fact in inputs}
    # Both exporters talk at length on standard output and warn of their own internals.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        if exporter == "dynamo":
            shapes = tuple({axis: torch.export.Dim.DYNAMIC for axis in axes} or None for axes in dynamic.values())
            if isinstance(model.native, torch.export.ExportedProgram):
                program = torch.onnx.export(model.native, (), dynamo=True, verbose=False, **options)
            else:
                program = torch.onnx.export(
                    model.native, arguments, dynamo=True, dynamic_shapes=shapes, verbose=False, **options
                )
            beyond = edges(program.exported_program, inputs)
            program.save(str(path))
        else:
            # The older exporter ends at opset 20; constant folding would copy weights, which the optimiser does better.
            options["opset_version"] = min(opset, 20)
            dynamic |= {name: {0: "batch"} for name in outputs}
            with refusing_branches(len(inputs)):
                torch.onnx.export(model.native, arguments, str(path), dynamo=False, dynamic_axes=dynamic, **options)
    proto = onnx.load(str(path))
    if len(proto.graph.output) != len(outputs):
        raise OutputsCollide(len(proto.graph.output), outputs)
    return proto, beyond
