"""From what the client gives back to the bytes of an answer, and what the OpenAPI schema says of both directions."""

from __future__ import annotations

import io
import json
from http import HTTPStatus
from typing import Any

import numpy as np
from fastapi.responses import Response
from pydantic import BaseModel, Field
from understudy_client import ModelDescription, Prediction

from .bodies import JSON, NPY
from .problems import Refusal
from .request_ids import REQUEST_ID

__all__ = ["REQUEST_BODY", "ModelShown", "PredictionShown", "TensorShown", "json_answer", "npy_answer", "shown"]

# Whoever writes JSON holds up all others until a piece is there, in a thread as well.
_PIECE = 2**16
# Of the strings of a .npy, each as long as the longest.
_MOST_PADDED_BYTES = 2**26
_EXAMPLE = {"inputs": {"x": [[1.0, 2.0], [3.0, 4.0]]}}
REQUEST_BODY = {
    "required": True,
    "content": {
        JSON: {
            "schema": {
                "type": "object",
                "required": ["inputs"],
                "additionalProperties": False,
                "properties": {
                    "inputs": {
                        "description": "Nested lists by input name; the lists alone for a model with one input. "
                        "The batch comes first. Numbers become the model's dtype.",
                        "anyOf": [{"type": "object", "additionalProperties": True}, {"type": "array", "items": {}}],
                    }
                },
            },
            "examples": {
                "by name": {"value": _EXAMPLE},
                "one input": {"value": {"inputs": [[1.0, 2.0], [3.0, 4.0]]}},
            },
        },
        NPY: {
            "schema": {"type": "string", "format": "binary"},
            "example": "the bytes that np.save writes: one array, of the dtype of a model's only input",
        },
    },
}


class PredictionShown(BaseModel):
    """What the model answered."""

    model: str = Field(examples=["efficientnet_lite0"])
    model_version: str = Field(description="The version that answered", examples=["1"])
    served_by: str | None = Field(
        description='"onnx" or "original", "mixed" where rows differ, null where the model is no hybrid',
        examples=["onnx"],
    )
    served_by_rows: list[str] = Field(description="The same for each row", examples=[["onnx", "onnx"]])
    outputs: dict[str, Any] = Field(
        description='Nested lists by output name. Not-a-number and infinities are "NaN", "Infinity", "-Infinity"',
        examples=[{"y": [[3.0, 5.0], [7.0, 9.0]]}],
    )
    inference_time_ms: float = Field(description="What the call to Triton took", examples=[8.6])
    request_id: str = Field(examples=["0b6c3c5e"])


class TensorShown(BaseModel):
    """An input or output; -1 in the shape is any size."""

    name: str = Field(examples=["x"])
    dtype: str = Field(description="As Triton names it", examples=["FP32"])
    shape: list[int] = Field(examples=[[-1, 2]])


class ModelShown(BaseModel):
    """What a model takes and gives."""

    model: str = Field(examples=["efficientnet_lite0"])
    versions: list[str] = Field(examples=[["1"]])
    inputs: list[TensorShown]
    outputs: list[TensorShown]


def shown(model: ModelDescription) -> ModelShown:
    """Return a description as callers read it."""
    inputs, outputs = (
        [TensorShown(name=spec.name, dtype=spec.datatype, shape=list(spec.shape)) for spec in tensors]
        for tensors in (model.inputs, model.outputs)
    )
    return ModelShown(model=model.name, versions=list(model.versions), inputs=inputs, outputs=outputs)


def json_answer(prediction: Prediction) -> Response:
    """Return all of a prediction. It is written here, as no validation of our own values is worth its time."""
    content = {
        "model": prediction.model,
        "model_version": prediction.model_version,
        "served_by": prediction.served_by,
        "served_by_rows": prediction.served_by_rows,
        "inference_time_ms": round(prediction.inference_time_ms, 3),
        "request_id": prediction.request_id,
    }
    outputs = b",".join(b"%b:%b" % (_text(name), _nested(array)) for name, array in prediction.outputs.items())
    text = b'%b,"outputs":{%b}}' % (_text(content)[:-1], outputs)
    return Response(text, headers={REQUEST_ID: prediction.request_id}, media_type=JSON)


def npy_answer(prediction: Prediction) -> Response:
    """Return the only output as a .npy, with the rest in headers.

    Raises `Refusal` where there are several, or strings that a .npy would not give back, or would make huge.
    """
    if len(prediction.outputs) != 1:
        names = ", ".join(map(repr, prediction.outputs))
        sentence = f"A .npy holds one array and the model answered with {names}; ask for one with ?outputs=NAME."
        raise Refusal(HTTPStatus.NOT_ACCEPTABLE, "NoSingleOutput", sentence)
    array = prediction.output
    if array.dtype.kind == "O":
        array = _fixed_width(array)
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    headers = {"x-model-version": prediction.model_version, REQUEST_ID: prediction.request_id}
    if prediction.served_by is not None:
        headers["x-served-by"] = prediction.served_by
    return Response(stream.getvalue(), media_type=NPY, headers=headers)


def _fixed_width(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return strings as a .npy has them, which knows no objects: each as long as the longest, zeros at its end none."""
    strings = array.reshape(-1).tolist()
    unfit = ""
    if any(item.endswith(b"\0") for item in strings):
        unfit = "that end in zero bytes, which a .npy does not keep"
    elif len(strings) * max(map(len, strings), default=0) > _MOST_PADDED_BYTES:
        unfit = "of very unequal lengths, and a .npy makes all as long as the longest"
    if unfit:
        raise Refusal(HTTPStatus.NOT_ACCEPTABLE, "NotInNpy", f"The answer holds strings {unfit}; ask for JSON.")
    return np.array(strings, np.bytes_).reshape(array.shape)


def _nested(array: np.ndarray[Any, Any]) -> bytes:
    """Return the JSON of an array, nested lists, written in pieces."""
    if array.size <= _PIECE:
        return _text(_plain(array))
    row = array.size // len(array)
    if row > _PIECE:
        return b"[%b]" % b",".join(map(_nested, array))
    step = _PIECE // row
    pieces = (array[start : start + step] for start in range(0, len(array), step))
    return b"[%b]" % b",".join(_text(_plain(piece))[1:-1] for piece in pieces)


def _text(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _plain(array: np.ndarray[Any, Any]) -> Any:
    """Return nested lists of what JSON has."""
    if array.dtype.kind == "O":
        return np.array([_word(item) for item in array.reshape(-1)], np.object_).reshape(array.shape).tolist()
    if array.dtype.kind in "biu" or np.isfinite(array).all():
        return array.tolist()
    values = array.astype(np.object_)
    for wrong, word in ((np.isnan(array), "NaN"), (np.isposinf(array), "Infinity"), (np.isneginf(array), "-Infinity")):
        values[wrong] = word
    return values.tolist()


def _word(item: object) -> str:
    return item.decode("utf-8", "backslashreplace") if isinstance(item, bytes) else str(item)
