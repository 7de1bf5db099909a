"""The first convolution of a net that is fed channels last: neighbouring pixels become channels, without moving any."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from .graph import Conv, activation_behind, constant, copy_of, read_conv, replace_nodes, shapes_of, weights_of

__all__ = ["fold_stem"]

# So many channels are worth a matrix product. Two or four neighbouring outputs at once take the same time, eight more
# (measured with ONNX Runtime 1.32 in 8 bits on AMX).
_WORTH_IT = 12
_LARGEST_PATCH = 8
_CHANNELS_LAST, _CHANNELS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
_AFTER = ("Relu", "Clip")


def fold_stem(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute neighbouring outputs of a row as channels of one position, from neighbouring pixels as channels.

    Channels last, pixels of a row are channels as they lie: what is three channels wide becomes twelve, for the price
    of kernel places that are zero. ONNX Runtime computes 8-bit convolutions channels last, where one with three
    channels is mostly spent on collecting its pixels.
    """
    changed = copy_of(model)
    weights, shapes = weights_of(changed), shapes_of(model)
    inputs = {value.name for value in model.graph.input}
    outputs = {value.name for value in model.graph.output}
    replaced: dict[str, list[onnx.NodeProto]] = {}
    for node in changed.graph.node:
        moved = node.output[0]
        if node.op_type == "Transpose" and node.input[0] in inputs and _order(node) == _CHANNELS_FIRST:
            readers = [other for other in changed.graph.node if moved in other.input]
            conv = read_conv(readers[0], weights) if len(readers) == 1 and moved not in outputs else None
            sizes = (shapes.get(node.input[0], ()), shapes.get(conv.node.output[0], ()) if conv else ())
            patch = _patch(conv, *sizes) if conv else 0
            if conv and patch:
                replaced |= _folded(changed, conv, node, sizes, patch)
    replace_nodes(changed, replaced)
    return changed


def _order(node: onnx.NodeProto) -> list[int]:
    return next((list(attribute.ints) for attribute in node.attribute if attribute.name == "perm"), [])


def _patch(conv: Conv, taken: tuple[int | str, ...], given: tuple[int | str, ...]) -> int:
    """How many neighbouring outputs become one position; 0 where it does not work out, or there is nothing to gain."""
    stride, depth = conv.strides[1], conv.weight.shape[1]
    known = len(taken) == len(given) == 4 and all(isinstance(size, int) for size in (*taken[1:], *given[2:]))
    if not known or depth >= _WORTH_IT:
        return 0
    width, wide = int(taken[2]), int(given[3])
    patch = 2
    while patch * stride * depth < _WORTH_IT and patch < _LARGEST_PATCH:
        patch *= 2
    fits = wide % patch == 0 and width % (patch * stride) == 0 and width // (patch * stride) == wide // patch
    return patch if fits else 0


def _folded(
    model: onnx.ModelProto,
    conv: Conv,
    transpose: onnx.NodeProto,
    sizes: tuple[tuple[int | str, ...], tuple[int | str, ...]],
    patch: int,
) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that take the place of the transposition, the convolution, and its activation."""
    (_, height, width, depth), (_, channels, high, wide) = sizes
    name, span = conv.node.output[0], patch * conv.strides[1]
    kernel, left = _patch_kernel(conv, patch)
    taken = constant(model, f"{name}/taken", np.array([0, height, int(width) // span, int(depth) * span], np.int64))
    given = constant(model, f"{name}/given", np.array([0, high, wide, channels], np.int64))
    weights = [constant(model, f"{name}/kernel", kernel)]
    if conv.bias is not None:
        weights.append(constant(model, f"{name}/bias", np.tile(conv.bias, patch)))
    after = activation_behind(model, name, _AFTER)
    last = f"{name}/summed"
    nodes = [
        helper.make_node("Reshape", [transpose.input[0], taken], [f"{name}/pixels"]),
        helper.make_node("Transpose", [f"{name}/pixels"], [f"{name}/first"], perm=_CHANNELS_FIRST),
        helper.make_node(
            "Conv",
            [f"{name}/first", *weights],
            [last],
            f"{name}/folded",
            kernel_shape=kernel.shape[2:],
            strides=[conv.strides[0], 1],
            pads=[conv.pads[0], left, conv.pads[2], kernel.shape[3] - 1 - left],
        ),
    ]
    replaced: dict[str, list[onnx.NodeProto]] = {transpose.output[0]: [], name: nodes}
    if after is not None:
        # Right behind the convolution ONNX Runtime computes both as one.
        nodes.append(helper.make_node(after.op_type, [last, *after.input[1:]], [f"{name}/active"]))
        last = f"{name}/active"
        replaced[after.output[0]] = []
    target = name if after is None else after.output[0]
    nodes += [
        helper.make_node("Transpose", [last], [f"{name}/last"], perm=_CHANNELS_LAST),
        helper.make_node("Reshape", [f"{name}/last", given], [f"{name}/neighbours"]),
        helper.make_node("Transpose", [f"{name}/neighbours"], [target], perm=_CHANNELS_FIRST),
    ]
    return replaced


def _patch_kernel(conv: Conv, patch: int) -> tuple[NDArray[Any], int]:
    """A kernel [patch * out, patch * stride * in, height, positions], and how many positions lie left of its own.

    Output o of a patch looks at pixels o * stride - left + tap; pixel p is channel p mod span of position p div span.
    """
    channels, depth, height, width = conv.weight.shape
    stride, left = conv.strides[1], conv.pads[1]
    span = patch * stride
    first, last = -left // span, (stride * (patch - 1) + width - 1 - left) // span
    kernel = np.zeros((patch, channels, span, depth, height, last - first + 1), conv.weight.dtype)
    for output in range(patch):
        for tap in range(width):
            position, pixel = divmod(output * stride + tap - left, span)
            kernel[output, :, pixel, :, :, position - first] = conv.weight[:, :, :, tap]
    return kernel.reshape(patch * channels, span * depth, height, -1), -first
