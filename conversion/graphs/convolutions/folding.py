"""Neighbouring outputs of a convolution with few channels, computed as channels of one position."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from .graph import BLOCK, Conv, activation_behind, constant, copy_of, read_conv, replace_nodes, shapes_of, weights_of

__all__ = ["fold_outputs"]

# Larger folds waste more of each kernel on zeros; this many output channels keep several cores busy.
_WIDEST = 8 * BLOCK
# What it costs to lay out one folded output, in multiplications that take as long (measured with ONNX Runtime 1.32 on
# AVX-512): columns go four by four through vector registers, other numbers one by one; rows move as a whole.
_MOVE_BY_FOUR, _MOVE_ONE, _MOVE_ROW = 60, 230, 25
_ELEMENTWISE = ("Relu", "Sigmoid", "Tanh")


def fold_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute a patch of neighbouring outputs as channels of one position, where there are too few channels.

    The kernel grows by what the patch spans, its new places are zeros, and the strides grow by the patch; the channels
    are then laid out as the neighbours that they are. The products are the same, in another order.
    """
    changed = copy_of(model)
    weights, shapes = weights_of(changed), shapes_of(model)
    replaced = {}
    for node in changed.graph.node:
        conv = read_conv(node, weights)
        if conv is None or conv.weight.shape[0] >= BLOCK:
            continue
        size = shapes.get(node.output[0], ())
        after = activation_behind(changed, node.output[0], _ELEMENTWISE)
        if len(size) == 4 and isinstance(size[2], int) and isinstance(size[3], int):
            patch = _best_patch(conv, (size[2], size[3]))
            if patch is not None:
                replaced[node.output[0]] = _folded(changed, conv, (size[2], size[3]), patch, after)
                if after is not None:
                    replaced[after.output[0]] = []
    replace_nodes(changed, replaced)
    return changed


def _best_patch(conv: Conv, size: tuple[int, int]) -> tuple[int, int] | None:
    """The patch (height, width) that costs the fewest multiplications, the channels filled up to whole blocks."""
    channels, depth, height, width = conv.weight.shape
    best: tuple[int, tuple[int, int]] | None = None
    for rows in (n for n in range(1, size[0] + 1) if size[0] % n == 0):
        for columns in range(1, size[1] + 1):
            folded = channels * rows * columns
            if folded > _WIDEST:
                break
            if folded < BLOCK:
                continue
            taps = (height + conv.strides[0] * (rows - 1)) * (width + conv.strides[1] * (columns - 1))
            positions = (size[0] // rows) * -(-size[1] // columns)
            cost = positions * (-(-folded // BLOCK) * BLOCK * depth * taps + folded * _layout_cost(rows, columns))
            if best is None or cost < best[0]:
                best = cost, (rows, columns)
    return best[1] if best else None


def _layout_cost(rows: int, columns: int) -> int:
    along = 0 if columns == 1 else _MOVE_ONE if columns % 4 else _MOVE_BY_FOUR
    return along + (0 if rows == 1 else _MOVE_ROW)


def _folded(
    model: onnx.ModelProto,
    conv: Conv,
    size: tuple[int, int],
    patch: tuple[int, int],
    activation: onnx.NodeProto | None,
) -> list[onnx.NodeProto]:
    (rows, columns), (down, right) = patch, conv.strides
    channels, wide = conv.weight.shape[0], -(-size[1] // columns)
    kernel = _patch_kernel(conv, patch)
    name = conv.node.output[0]
    target = activation.output[0] if activation is not None else name
    inputs = [conv.node.input[0], constant(model, f"{name}/kernel", kernel)]
    if conv.bias is not None:
        inputs.append(constant(model, f"{name}/bias", np.repeat(conv.bias, rows * columns)))
    pads = list(conv.pads)
    pads[3] += (wide * columns - size[1]) * right
    summed = f"{name}/folded" if activation is None else f"{name}/summed"
    nodes = [
        helper.make_node(
            "Conv",
            inputs,
            [summed],
            summed,
            kernel_shape=kernel.shape[2:],
            strides=[down * rows, right * columns],
            pads=pads,
        )
    ]
    if activation is not None:
        # Right behind the convolution ONNX Runtime computes both as one.
        nodes.append(helper.make_node(activation.op_type, [summed], [f"{name}/folded"]))
    whole = target if wide * columns == size[1] else f"{name}/whole"
    nodes += _laid_out(model, name, whole, (channels, size[0] // rows, wide), patch)
    if whole != target:
        bounds = [constant(model, f"{name}/{key}", np.array([n])) for key, n in (("from", 0), ("to", size[1]))]
        axes = constant(model, f"{name}/axis", np.array([3]))
        nodes.append(helper.make_node("Slice", [whole, *bounds, axes], [target]))
    return nodes


def _patch_kernel(conv: Conv, patch: tuple[int, int]) -> NDArray[Any]:
    """One kernel for each place in the patch: [out * rows * columns, in, height, width], zeros beyond its reach."""
    channels, depth, height, width = conv.weight.shape
    (rows, columns), (down, right) = patch, conv.strides
    high, wide = height + down * (rows - 1), width + right * (columns - 1)
    kernel = np.zeros((channels, rows, columns, depth, high, wide), conv.weight.dtype)
    for row in range(rows):
        for column in range(columns):
            top, left = row * down, column * right
            kernel[:, row, column, :, top : top + height, left : left + width] = conv.weight
    return kernel.reshape(-1, depth, high, wide)


def _laid_out(
    model: onnx.ModelProto, name: str, whole: str, positions: tuple[int, int, int], patch: tuple[int, int]
) -> list[onnx.NodeProto]:
    """From channels to neighbours, [channels, height, width] `positions` of patches, in one move of one axis each.

    ONNX Runtime moves a single axis as a matrix transposition or by whole rows; two at once go element by element.
    """
    channels, high, wide = positions
    rows, columns = patch
    steps: list[tuple[list[int], list[int] | None]] = []
    if columns > 1:
        steps.append(([0, channels * rows, columns, high * wide], [0, 1, 3, 2]))
    if rows > 1:
        steps.append(([0, channels, rows, high, wide * columns], [0, 1, 3, 2, 4]))
    steps.append(([0, channels, high * rows, wide * columns], None))
    nodes, last = [], f"{name}/folded"
    for number, (shape, order) in enumerate(steps):
        sizes = constant(model, f"{name}/shape_{number}", np.array(shape, np.int64))
        reshaped = f"{name}/reshaped_{number}" if order else whole
        nodes.append(helper.make_node("Reshape", [last, sizes], [reshaped]))
        last = f"{name}/moved_{number}"
        if order:
            nodes.append(helper.make_node("Transpose", [reshaped], [last], perm=order))
    return nodes
