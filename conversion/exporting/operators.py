"""Operators of TensorFlow that tf2onnx knows nothing of, out of those that ONNX has."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["register"]


def register() -> None:
    """Tell tf2onnx of them; again does no harm."""
    from tf2onnx.handler import tf_op

    tf_op("Erfc")(_Erfc)


class _Erfc:
    """1 - erf(x): Keras's gelu, unless it is told to be approximate."""

    @classmethod
    def version_9(cls, context: Any, node: Any, **_: Any) -> None:
        from tf2onnx import utils

        dtype = context.get_dtype(node.output[0])
        told = {"shapes": node.output_shapes, "dtypes": node.output_dtypes}
        erf = context.make_node("Erf", node.input[:1], **told)
        one = context.make_const(utils.make_name("one"), np.array(1, utils.map_onnx_to_numpy_type(dtype)))
        context.remove_node(node.name)
        context.make_node("Sub", [one.output[0], erf.output[0]], name=node.name, outputs=node.output, **told)
