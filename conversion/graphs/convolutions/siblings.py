"""Convolutions of one input computed as one, and convolutions of a joined input computed part by part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from .graph import BLOCK, Conv, constant, copy_of, read_conv, replace_nodes, shapes_of, weights_of

__all__ = ["merge_siblings", "split_concatenated"]


def merge_siblings(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute convolutions of the same input and geometry as one, and split its channels."""
    changed = copy_of(model)
    weights = weights_of(changed)
    groups: dict[object, list[Conv]] = {}
    for node in changed.graph.node:
        conv = read_conv(node, weights)
        if conv is not None:
            groups.setdefault(conv.geometry, []).append(conv)
    replaced: dict[str, list[onnx.NodeProto]] = {}
    for siblings in groups.values():
        if len(siblings) > 1:
            nodes = _merged(changed, siblings)
            for conv in siblings:
                replaced[conv.node.output[0]] = []
            replaced[siblings[0].node.output[0]] = nodes
    replace_nodes(changed, replaced)
    return changed


def split_concatenated(model: onnx.ModelProto) -> onnx.ModelProto:
    """Add up one convolution for each part of a concatenated input, where only a part has whole blocks of channels.

    A convolution is linear in its channels; a few stray ones would take all others off the fast path.
    """
    changed = copy_of(model)
    weights, shapes = weights_of(changed), shapes_of(model)
    joins = {node.output[0]: node for node in changed.graph.node if node.op_type == "Concat"}
    replaced = {}
    for node in changed.graph.node:
        conv = read_conv(node, weights)
        join = joins.get(node.input[0]) if conv is not None else None
        if conv is None or join is None or helper.get_node_attr_value(join, "axis") != 1:
            continue
        depths = [shapes.get(name, (0, 0))[1] for name in join.input]
        if any(not isinstance(depth, int) or depth == 0 for depth in depths) or conv.weight.shape[1] % BLOCK == 0:
            continue
        if any(int(depth) % BLOCK == 0 for depth in depths):
            replaced[node.output[0]] = _added(changed, conv, list(join.input), [int(depth) for depth in depths])
    replace_nodes(changed, replaced)
    return changed


def _merged(model: onnx.ModelProto, siblings: Sequence[Conv]) -> list[onnx.NodeProto]:
    first = siblings[0]
    name = first.node.output[0]
    weight = np.concatenate([conv.weight for conv in siblings])
    inputs = [first.node.input[0], constant(model, f"{name}/kernels", weight)]
    if first.bias is not None:
        biases = [conv.bias for conv in siblings if conv.bias is not None]
        inputs.append(constant(model, f"{name}/biases", np.concatenate(biases)))
    counts = np.array([len(conv.weight) for conv in siblings], np.int64)
    return [
        helper.make_node(
            "Conv",
            inputs,
            [f"{name}/merged"],
            f"{name}/merged",
            kernel_shape=weight.shape[2:],
            strides=first.strides,
            pads=first.pads,
        ),
        helper.make_node(
            "Split",
            [f"{name}/merged", constant(model, f"{name}/counts", counts)],
            [conv.node.output[0] for conv in siblings],
            axis=1,
        ),
    ]


def _added(model: onnx.ModelProto, conv: Conv, parts: Sequence[str], depths: Sequence[int]) -> list[onnx.NodeProto]:
    name = conv.node.output[0]
    nodes, last = [], ""
    for number, (part, kernel) in enumerate(
        zip(parts, np.split(conv.weight, np.cumsum(depths)[:-1], axis=1), strict=True)
    ):
        inputs = [part, constant(model, f"{name}/kernel_{number}", kernel)]
        if number == 0 and conv.bias is not None:
            inputs.append(conv.node.input[2])
        own = f"{name}/part_{number}"
        nodes.append(
            helper.make_node(
                "Conv", inputs, [own], own, kernel_shape=kernel.shape[2:], strides=conv.strides, pads=conv.pads
            )
        )
        if last:
            total = name if number == len(parts) - 1 else f"{name}/sum_{number}"
            nodes.append(helper.make_node("Add", [last, own], [total]))
            own = total
        last = own
    return nodes
