"""What a graph says of its convolutions, and how nodes take the place of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = [
    "BLOCK",
    "Conv",
    "activation_behind",
    "constant",
    "copy_of",
    "read_conv",
    "replace_nodes",
    "shapes_of",
    "weights_of",
]

# Output channels that are computed at once.
BLOCK = 16
_COPIES = ("Concat", "Pad")
_LARGEST_MODEL = 1_800_000_000


@dataclass(frozen=True)
class Conv:
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


def read_conv(node: onnx.NodeProto, weights: Mapping[str, NDArray[Any]]) -> Conv | None:
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
    return Conv(node, weight, bias, (down, along), (top, left, bottom, right))


def replace_nodes(model: onnx.ModelProto, replaced: Mapping[str, Sequence[onnx.NodeProto]]) -> None:
    """Put nodes in the place of those that gave the outputs named, and drop weights that only those needed."""
    gone = {name for node in model.graph.node if node.output[0] in replaced for name in node.input[1:]}
    nodes = [new for node in model.graph.node for new in replaced.get(node.output[0], [node])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _drop_unread(model)
    gone -= {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in gone]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _drop_unread(model: onnx.ModelProto) -> None:
    """ONNX Runtime would still join and pad what nobody reads any more."""
    read = {name for node in model.graph.node for name in node.input} | {v.name for v in model.graph.output}
    kept = [node for node in model.graph.node if node.op_type not in _COPIES or node.output[0] in read]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def activation_behind(model: onnx.ModelProto, name: str, kinds: Sequence[str]) -> onnx.NodeProto | None:
    """The one reader of a tensor, where it is of one of these `kinds`, which work element by element."""
    readers = [node for node in model.graph.node if name in node.input]
    if len(readers) != 1 or name in {value.name for value in model.graph.output}:
        return None
    return readers[0] if readers[0].op_type in kinds else None


def constant(model: onnx.ModelProto, name: str, value: NDArray[Any]) -> str:
    """Add a weight; gives its name."""
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
    return name


def weights_of(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """The weights that nobody can override, by name."""
    overridable = {value.name for value in model.graph.input}
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if t.name not in overridable}


def shapes_of(model: onnx.ModelProto) -> dict[str, tuple[int | str, ...]]:
    """What is known of the shapes of all values, dynamic dimensions by name."""
    inferred = onnx.shape_inference.infer_shapes(model)
    return {
        value.name: tuple(
            d.dim_value if d.HasField("dim_value") else d.dim_param for d in value.type.tensor_type.shape.dim
        )
        for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
    }


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy to change. Raises ValueError for a graph that is too large to hold twice."""
    if model.ByteSize() > _LARGEST_MODEL:
        raise ValueError("the graph is too large to be rewritten in memory")
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.value_info[:]
    return changed
