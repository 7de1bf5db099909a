"""TensorFlow and Keras to ONNX: the function that serves the original, frozen, then converted by tf2onnx."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import onnx

from python_backend.original.tensorflow_runtime import TensorFlowModel

from ..graphs.rewrite import rename
from ..interface import Facts
from .operators import register

__all__ = ["export_tensorflow"]

# The highest opset that tf2onnx 1.17 writes.
_HIGHEST = 18


def export_tensorflow(
    model: TensorFlowModel, inputs: Sequence[Facts], outputs: Sequence[str], opset: int
) -> onnx.ModelProto:
    """Convert the function that also serves the original, so that both twins come from the same one.

    Raises whatever tf2onnx raises: it has no base class.
    """
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    register()
    # A name of our own, since the graph's inner tensors may have any other.
    signature = [
        tf.TensorSpec([None if isinstance(s, str) else s for s in f.shape], f.dtype, name=f"understudy_input_{i}")
        for i, f in enumerate(inputs)
    ]
    concrete = tf.function(model.call, input_signature=signature).get_concrete_function()
    given = [tensor.name for tensor in concrete.inputs[: len(inputs)]]
    taken = [tensor.name for tensor in concrete.outputs]
    proto: onnx.ModelProto
    proto, _ = tf2onnx.convert.from_graph_def(
        _freeze(tf, concrete), input_names=given, output_names=taken, opset=min(opset, _HIGHEST)
    )
    # tf2onnx keeps names but for the ":0" of inputs, and keeps the order of outputs.
    names = {name: fact.name for name, fact in zip(given, inputs, strict=True)}
    names |= {name.partition(":")[0]: wanted for name, wanted in names.items()}
    present = {value.name for value in proto.graph.input}
    names = {name: wanted for name, wanted in names.items() if name in present}
    names |= {value.name: name for value, name in zip(proto.graph.output, outputs, strict=True)}
    rename(proto, names)
    return proto


def _freeze(tf: Any, concrete: Any) -> Any:
    """The graph with variables and captured tensors as constants.

    TensorFlow's own freezing knows variables alone; tensors that a layer keeps (filter banks, for example) would be
    left behind as inputs that nobody feeds.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # Loops stay loops of TensorFlow 2, which tf2onnx knows: lowered to those of TensorFlow 1 they lose their dtypes.
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False, aggressive_inlining=True)
    captured = {inner.op.name: outer for outer, inner in concrete.graph.captures if outer.dtype != tf.resource}
    graph = frozen.graph.as_graph_def()
    for node in graph.node:
        if node.op == "Placeholder" and node.name in captured:
            value = captured[node.name]
            node.op = "Const"
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value.numpy()))
            del node.attr["shape"]
            for key in [key for key in node.attr if key.startswith("_")]:
                del node.attr[key]
    return graph
