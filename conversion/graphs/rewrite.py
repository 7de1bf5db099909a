"""Small exact changes to an ONNX graph: names of its tensors, dynamic dimensions, versions, and how it is stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import onnx

from ..interface import BATCH, Facts
from ..targets import Target
from .nesting import all_graphs, tensor_names

__all__ = ["declare", "loosen", "rename", "save"]

# Protocol buffers end at 2 GB; the rest is room for the graph itself.
_LARGEST_INLINE = 1_800_000_000


def rename(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Rename tensors in place, in subgraphs too; an inner tensor that has a wanted name already gives way."""
    wanted = {old: new for old, new in names.items() if old != new}
    if not wanted:
        return
    taken = tensor_names(model.graph)
    for new in list(wanted.values()):
        if new in taken and new not in wanted:
            free = next(n for n in (f"{new}__{i}" for i in range(len(taken) + 1)) if n not in taken)
            wanted[new] = free
            taken.add(free)
    _apply(model.graph, wanted)


def declare(model: onnx.ModelProto, inputs: Sequence[Facts], batched: bool, target: Target) -> None:
    """Name the dynamic dimensions of inputs as the spec does, and the batch of outputs; cap the IR at the target's.

    Only dimensions that are already dynamic get a name: nothing is made dynamic by claiming so.
    """
    facts = {fact.name: fact for fact in inputs}
    for value in model.graph.input:
        if value.name in facts:
            for size, dim in zip(facts[value.name].shape, value.type.tensor_type.shape.dim, strict=False):
                if isinstance(size, str) and not dim.HasField("dim_value"):
                    dim.dim_param = size
    if batched:
        for value in model.graph.output:
            dims = value.type.tensor_type.shape.dim
            if dims and not dims[0].HasField("dim_value"):
                dims[0].dim_param = BATCH
    # Names of inner dimensions are the exporter's own and say nothing once the outer ones are renamed.
    del model.graph.value_info[:]
    model.ir_version = min(model.ir_version, target.runtime.ir)


def loosen(model: onnx.ModelProto, answers: Iterable[Mapping[str, tuple[int, ...]]], batched: bool) -> None:
    """Take back the sizes of outputs that `answers`, the shapes of what the original answered, contradict.

    Exporters leave the size that they traced with where they lose a dimension's name, as in recurrent nets. The batch
    stays as it is: where that is fixed, the graph itself seldom takes another one.
    """
    answers = list(answers)
    for value in model.graph.output:
        shapes = {shape[value.name] for shape in answers if value.name in shape}
        tensor = value.type.tensor_type
        ranks = {len(shape) for shape in shapes}
        if not tensor.HasField("shape") and len(ranks) == 1:
            for _ in range(ranks.pop()):
                tensor.shape.dim.add()
        for axis, dim in enumerate(tensor.shape.dim):
            if batched and axis == 0:
                continue
            found = {shape[axis] for shape in shapes if axis < len(shape)}
            if dim.HasField("dim_value") and not found <= {dim.dim_value}:
                dim.Clear()


def save(model: onnx.ModelProto, path: Path, external_data: bool = False) -> None:
    """Write a model; weights go to `<name>.data` beside it when asked for, or when the file would pass 1.8 GB."""
    if external_data or model.ByteSize() > _LARGEST_INLINE:
        onnx.save_model(
            model, str(path), save_as_external_data=True, all_tensors_to_one_file=True, location=f"{path.name}.data"
        )
        # Saving so takes the weights out of the model, which others go on with.
        onnx.load_external_data_for_model(model, str(path.parent))
    else:
        onnx.save_model(model, str(path))


def _apply(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for one in all_graphs(graph):
        for value in (*one.input, *one.output, *one.value_info, *one.initializer):
            value.name = names.get(value.name, value.name)
        for node in one.node:
            for field in (node.input, node.output):
                for i, name in enumerate(field):
                    field[i] = names.get(name, name)
