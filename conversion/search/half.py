"""Half-precision twins by ONNX Runtime's own converter: float16 inside, the inputs and outputs as they were."""

from __future__ import annotations

from pathlib import Path

import onnx

__all__ = ["to_half"]


def to_half(path: Path) -> onnx.ModelProto:
    """The graph with its float32 weights and operators in float16. What float16 cannot do stays in float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    made: onnx.ModelProto = convert_float_to_float16(onnx.load(path), keep_io_types=True)
    return made
