"""A slice of joined tensors, cut from each part before they are joined: what is cut off is then never copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from .graph import constant, copy_of, replace_nodes, shapes_of, weights_of

__all__ = ["slice_before_joining"]


def slice_before_joining(model: onnx.ModelProto) -> onnx.ModelProto:
    """Cut the parts of a `Concat` instead of the whole, where another axis is cut.

    A part that is padded is padded less: ONNX allows negative pads, which cut.
    """
    changed = copy_of(model)
    weights, shapes = weights_of(changed), shapes_of(model)
    makers = {node.output[0]: node for node in changed.graph.node}
    readers = [name for node in changed.graph.node for name in node.input]
    outputs = {value.name for value in changed.graph.output}
    replaced: dict[str, list[onnx.NodeProto]] = {}
    for node in changed.graph.node:
        cut = _cut(node, weights)
        join = makers.get(node.input[0]) if cut else None
        if cut is None or join is None or join.op_type != "Concat" or readers.count(join.output[0]) > 1:
            continue
        axis, start, stop = cut
        shape = shapes.get(join.output[0], ())
        if join.output[0] in outputs or helper.get_node_attr_value(join, "axis") == axis or axis >= len(shape):
            continue
        size = shape[axis]
        if isinstance(size, int) and 0 <= start < min(stop, size):
            replaced[join.output[0]] = []
            parts = [(part, _padding(makers.get(part), weights)) for part in join.input]
            replaced[node.output[0]] = _joined(changed, node, join, parts, (axis, start, min(stop, size), size))
    replace_nodes(changed, replaced)
    return changed


def _cut(node: onnx.NodeProto, weights: Mapping[str, NDArray[Any]]) -> tuple[int, int, int] | None:
    """Axis, start and stop of a slice of one axis in steps of one, all of them constant; None for anything else."""
    if node.op_type != "Slice" or any(name and name not in weights for name in node.input[1:]):
        return None
    # Without axes it is of the first ones, the batch among them.
    if len(node.input) < 4 or not node.input[3]:
        return None
    starts, stops, axes, *steps = (weights[name] for name in node.input[1:] if name)
    if axes.size != 1 or (steps and steps[0].tolist() != [1]) or int(axes[0]) < 0:
        return None
    return int(axes[0]), int(starts[0]), int(stops[0])


def _joined(
    model: onnx.ModelProto,
    node: onnx.NodeProto,
    join: onnx.NodeProto,
    parts: Sequence[tuple[str, _Padding | None]],
    cut: tuple[int, int, int, int],
) -> list[onnx.NodeProto]:
    axis, start, stop, size = cut
    nodes, names = [], []
    for number, (part, padding) in enumerate(parts):
        name = f"{node.output[0]}/part_{number}"
        if padding is not None:
            pads = padding.amounts.copy()
            pads[axis] -= start
            pads[axis + len(pads) // 2] -= size - stop
            inputs = [padding.source, constant(model, f"{name}/pads", pads), *padding.value]
            nodes.append(helper.make_node("Pad", inputs, [name]))
        else:
            bounds = {"from": start, "to": stop, "axis": axis}
            inputs = [part, *(constant(model, f"{name}/{key}", np.array([value])) for key, value in bounds.items())]
            nodes.append(helper.make_node("Slice", inputs, [name]))
        names.append(name)
    joined = helper.make_node("Concat", names, [node.output[0]], axis=helper.get_node_attr_value(join, "axis"))
    return [*nodes, joined]


@dataclass(frozen=True)
class _Padding:
    """A constant set around `source`; `value` is its name, empty for zero."""

    source: str
    amounts: NDArray[Any]
    value: tuple[str, ...]


def _padding(node: onnx.NodeProto | None, weights: Mapping[str, NDArray[Any]]) -> _Padding | None:
    """The padding that a node is, where all that it says is constant; None for anything else."""
    if node is None or node.op_type != "Pad" or len(node.input) > 3:
        return None
    said = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if said.get("mode", b"constant") != b"constant" or any(name and name not in weights for name in node.input[1:]):
        return None
    return _Padding(node.input[0], weights[node.input[1]], tuple(node.input[2:]))
