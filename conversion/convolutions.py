"""Exact rewrites of convolutions into shapes that CPU kernels are fast at.

ONNX Runtime computes a convolution block by block of output channels (16 of them with AVX-512, 8 with AVX2: MLAS,
`MlasNchwcGetBlockSize`). One with fewer channels falls back to unrolling its input into a matrix, which moves more
memory than it computes. Audio nets are full of those: one filter over one channel, or harmonic stacks with few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = ["fold_outputs", "merge_siblings", "split_concatenated"]

_BLOCK = 16
# Larger folds waste more of each kernel on zeros; this many output channels keep both cores busy.
_WIDEST = 8 * _BLOCK
# What it costs to lay out one folded output, in multiplications that take as long (measured with ONNX Runtime 1.32 on
# AVX-512): columns go four by four through vector registers, other numbers one by one; rows move as a whole.
_MOVE_BY_FOUR, _MOVE_ONE, _MOVE_ROW = 60, 230, 25
_ELEMENTWISE = ("Relu", "Sigmoid", "Tanh")
_LARGEST_MODEL = 1_800_000_000


@dataclass(frozen=True)
class _Conv:
    """A two-dimensional convolution of one group with constant weights [out, in, height, width]."""

    node: onnx.NodeProto
    weight: NDArray[Any]
    bias: NDArray[Any] | None
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]

    @property
    def geometry(self) -> tuple[object, ...]:
        """Convolutions of one input with the same geometry can be computed as one."""
        return self.node.input[0], self.weight.shape[1:], self.strides, self.pads, self.bias is None


def merge_siblings(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute convolutions of the same input and geometry as one, and split its channels."""
    changed = _copy(model)
    weights = _weights(changed)
    groups: dict[object, list[_Conv]] = {}
    for node in changed.graph.node:
        conv = _read(node, weights)
        if conv is not None:
            groups.setdefault(conv.geometry, []).append(conv)
    replaced: dict[str, list[onnx.NodeProto]] = {}
    for siblings in groups.values():
        if len(siblings) > 1:
            nodes = _merged(changed, siblings)
            for conv in siblings:
                replaced[conv.node.output[0]] = []
            replaced[siblings[0].node.output[0]] = nodes
    _replace(changed, replaced)
    return changed


def fold_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute a patch of neighbouring outputs as channels of one position, where there are too few channels.

    The kernel grows by what the patch spans, its new places are zeros, and the strides grow by the patch; the channels
    are then laid out as the neighbours that they are. The products are the same, in another order.
    """
    changed = _copy(model)
    weights, shapes = _weights(changed), _shapes(model)
    replaced = {}
    for node in changed.graph.node:
        conv = _read(node, weights)
        if conv is None or conv.weight.shape[0] >= _BLOCK:
            continue
        size = shapes.get(node.output[0], ())
        after = _activation(changed, node)
        if len(size) == 4 and isinstance(size[2], int) and isinstance(size[3], int):
            patch = _best_patch(conv, (size[2], size[3]))
            if patch is not None:
                replaced[node.output[0]] = _folded(changed, conv, (size[2], size[3]), patch, after)
                if after is not None:
                    replaced[after.output[0]] = []
    _replace(changed, replaced)
    return changed


def split_concatenated(model: onnx.ModelProto) -> onnx.ModelProto:
    """Add up one convolution for each part of a concatenated input, where only a part has whole blocks of channels.

    A convolution is linear in its channels; a few stray ones would take all others off the fast path.
    """
    changed = _copy(model)
    weights, shapes = _weights(changed), _shapes(model)
    joins = {node.output[0]: node for node in changed.graph.node if node.op_type == "Concat"}
    replaced = {}
    for node in changed.graph.node:
        conv = _read(node, weights)
        join = joins.get(node.input[0]) if conv is not None else None
        if conv is None or join is None or helper.get_node_attr_value(join, "axis") != 1:
            continue
        depths = [shapes.get(name, (0, 0))[1] for name in join.input]
        if any(not isinstance(depth, int) or depth == 0 for depth in depths) or conv.weight.shape[1] % _BLOCK == 0:
            continue
        if any(int(depth) % _BLOCK == 0 for depth in depths):
            replaced[node.output[0]] = _added(changed, conv, list(join.input), [int(depth) for depth in depths])
    _replace(changed, replaced)
    return changed


def _added(model: onnx.ModelProto, conv: _Conv, parts: Sequence[str], depths: Sequence[int]) -> list[onnx.NodeProto]:
    name = conv.node.output[0]
    nodes, last = [], ""
    for number, (part, kernel) in enumerate(
        zip(parts, np.split(conv.weight, np.cumsum(depths)[:-1], axis=1), strict=True)
    ):
        inputs = [part, _constant(model, f"{name}/kernel_{number}", kernel)]
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


def _activation(model: onnx.ModelProto, node: onnx.NodeProto) -> onnx.NodeProto | None:
    """The one reader of a node's output, where that works element by element: it may come before the layout."""
    readers = [other for other in model.graph.node if node.output[0] in other.input]
    if len(readers) != 1 or node.output[0] in {value.name for value in model.graph.output}:
        return None
    return readers[0] if readers[0].op_type in _ELEMENTWISE else None


def _best_patch(conv: _Conv, size: tuple[int, int]) -> tuple[int, int] | None:
    """The patch (height, width) that costs the fewest multiplications, the channels filled up to whole blocks."""
    channels, depth, height, width = conv.weight.shape
    best: tuple[int, tuple[int, int]] | None = None
    for rows in (n for n in range(1, size[0] + 1) if size[0] % n == 0):
        for columns in range(1, size[1] + 1):
            folded = channels * rows * columns
            if folded > _WIDEST:
                break
            if folded < _BLOCK:
                continue
            taps = (height + conv.strides[0] * (rows - 1)) * (width + conv.strides[1] * (columns - 1))
            positions = (size[0] // rows) * -(-size[1] // columns)
            cost = positions * (-(-folded // _BLOCK) * _BLOCK * depth * taps + folded * _layout_cost(rows, columns))
            if best is None or cost < best[0]:
                best = cost, (rows, columns)
    return best[1] if best else None


def _layout_cost(rows: int, columns: int) -> int:
    along = 0 if columns == 1 else _MOVE_ONE if columns % 4 else _MOVE_BY_FOUR
    return along + (0 if rows == 1 else _MOVE_ROW)


def _folded(
    model: onnx.ModelProto,
    conv: _Conv,
    size: tuple[int, int],
    patch: tuple[int, int],
    activation: onnx.NodeProto | None,
) -> list[onnx.NodeProto]:
    (rows, columns), (down, right) = patch, conv.strides
    channels, wide = conv.weight.shape[0], -(-size[1] // columns)
    kernel = _patch_kernel(conv, patch)
    name = conv.node.output[0]
    target = activation.output[0] if activation is not None else name
    inputs = [conv.node.input[0], _constant(model, f"{name}/kernel", kernel)]
    if conv.bias is not None:
        inputs.append(_constant(model, f"{name}/bias", np.repeat(conv.bias, rows * columns)))
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
        bounds = [_constant(model, f"{name}/{key}", np.array([n])) for key, n in (("from", 0), ("to", size[1]))]
        axes = _constant(model, f"{name}/axis", np.array([3]))
        nodes.append(helper.make_node("Slice", [whole, *bounds, axes], [target]))
    return nodes


def _patch_kernel(conv: _Conv, patch: tuple[int, int]) -> NDArray[Any]:
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
        sizes = _constant(model, f"{name}/shape_{number}", np.array(shape, np.int64))
        reshaped = f"{name}/reshaped_{number}" if order else whole
        nodes.append(helper.make_node("Reshape", [last, sizes], [reshaped]))
        last = f"{name}/moved_{number}"
        if order:
            nodes.append(helper.make_node("Transpose", [reshaped], [last], perm=order))
    return nodes


def _merged(model: onnx.ModelProto, siblings: Sequence[_Conv]) -> list[onnx.NodeProto]:
    first = siblings[0]
    name = first.node.output[0]
    weight = np.concatenate([conv.weight for conv in siblings])
    inputs = [first.node.input[0], _constant(model, f"{name}/kernels", weight)]
    if first.bias is not None:
        biases = [conv.bias for conv in siblings if conv.bias is not None]
        inputs.append(_constant(model, f"{name}/biases", np.concatenate(biases)))
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
            [f"{name}/merged", _constant(model, f"{name}/counts", counts)],
            [conv.node.output[0] for conv in siblings],
            axis=1,
        ),
    ]


def _read(node: onnx.NodeProto, weights: Mapping[str, NDArray[Any]]) -> _Conv | None:
    """The convolution that a node is, None for anything else and for those with groups or holes."""
    if node.op_type != "Conv" or any(name and name not in weights for name in node.input[1:]):
        return None
    said = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    weight = weights[node.input[1]]
    plain = said.get("group", 1) == 1 and set(said.get("dilations", [1])) == {1}
    if weight.ndim != 4 or not plain or said.get("auto_pad", b"NOTSET") != b"NOTSET":
        return None
    bias = weights[node.input[2]] if len(node.input) > 2 and node.input[2] else None
    top, left, bottom, right = said.get("pads", [0, 0, 0, 0])
    down, along = said.get("strides", [1, 1])
    return _Conv(node, weight, bias, (down, along), (top, left, bottom, right))


def _replace(model: onnx.ModelProto, replaced: Mapping[str, Sequence[onnx.NodeProto]]) -> None:
    """Put nodes in the place of those that gave the outputs named, and drop weights that only those needed."""
    gone = {name for node in model.graph.node if node.output[0] in replaced for name in node.input[1:]}
    nodes = [new for node in model.graph.node for new in replaced.get(node.output[0], [node])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _drop_unused_joins(model)
    gone -= {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in gone]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _drop_unused_joins(model: onnx.ModelProto) -> None:
    """ONNX Runtime would still join parts that nobody reads joined any more."""
    read = {name for node in model.graph.node for name in node.input} | {v.name for v in model.graph.output}
    kept = [node for node in model.graph.node if node.op_type != "Concat" or node.output[0] in read]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _constant(model: onnx.ModelProto, name: str, value: NDArray[Any]) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
    return name


def _weights(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    overridable = {value.name for value in model.graph.input}
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if t.name not in overridable}


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int | str, ...]]:
    inferred = onnx.shape_inference.infer_shapes(model)
    return {
        value.name: tuple(
            d.dim_value if d.HasField("dim_value") else d.dim_param for d in value.type.tensor_type.shape.dim
        )
        for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
    }


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    if model.ByteSize() > _LARGEST_MODEL:
        raise ValueError("the graph is too large to be rewritten in memory")
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.value_info[:]
    return changed
