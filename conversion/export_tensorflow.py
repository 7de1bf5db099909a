"""TensorFlow and Keras to ONNX: the function that serves the original, given to tf2onnx with an explicit signature."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import onnx

from python_backend.original.tensorflow_runtime import TensorFlowModel

from .interface import Facts
from .rewrite import rename

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
    signature = [
        tf.TensorSpec([None if isinstance(s, str) else s for s in f.shape], _dtype(tf, f.dtype), name=f"input_{i}")
        for i, f in enumerate(inputs)
    ]
    function = tf.function(model.call, input_signature=signature)
    proto: onnx.ModelProto
    proto, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=min(opset, _HIGHEST))
    given = [value.name for value in proto.graph.input]
    # tf2onnx keeps the order of the signature's inputs and of the function's outputs, and invents names.
    order = sorted(range(len(given)), key=lambda i: _number(given[i]))
    names = {given[i]: inputs[number].name for number, i in zip((_number(given[i]) for i in order), order, strict=True)}
    names |= {value.name: name for value, name in zip(proto.graph.output, outputs, strict=True)}
    rename(proto, names)
    return proto


def _number(name: str) -> int:
    return int(name.partition(":")[0].removeprefix("input_"))


def _dtype(tf: Any, name: str) -> Any:
    return tf.string if name == "string" else tf.dtypes.as_dtype(name)
