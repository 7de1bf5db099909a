"""One table of element types: the spec's name, NumPy, Triton's config, and ONNX."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DTYPES", "Dtype", "by_onnx"]


@dataclass(frozen=True)
class Dtype:
    """An element type under each of its names. `onnx` is the number in `onnx.TensorProto.DataType`.

    Triton: model_config.proto, DataType. ONNX: onnx.proto, TensorProto.DataType. bfloat16 is left out because Triton's
    ONNX Runtime backend refuses it.
    """

    name: str
    triton: str
    onnx: int


DTYPES: dict[str, Dtype] = {
    dtype.name: dtype
    for dtype in (
        Dtype("bool", "TYPE_BOOL", 9),
        Dtype("uint8", "TYPE_UINT8", 2),
        Dtype("uint16", "TYPE_UINT16", 4),
        Dtype("uint32", "TYPE_UINT32", 12),
        Dtype("uint64", "TYPE_UINT64", 13),
        Dtype("int8", "TYPE_INT8", 3),
        Dtype("int16", "TYPE_INT16", 5),
        Dtype("int32", "TYPE_INT32", 6),
        Dtype("int64", "TYPE_INT64", 7),
        Dtype("float16", "TYPE_FP16", 10),
        Dtype("float32", "TYPE_FP32", 1),
        Dtype("float64", "TYPE_FP64", 11),
        Dtype("string", "TYPE_STRING", 8),
    )
}


def by_onnx(number: int) -> Dtype | None:
    """The dtype of an ONNX element type, None for one that cannot be served."""
    return next((dtype for dtype in DTYPES.values() if dtype.onnx == number), None)
