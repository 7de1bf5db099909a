"""One inference request as bytes, made once and sent as often as wanted, and what its answer says.

A load generator shares the machine with the server that it measures, so a request must cost it next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2, service_pb2
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor, triton_to_np_dtype

from python_backend.tolerance import differences

Arrays = Mapping[str, NDArray[Any]]
INFER = "/inference.GRPCInferenceService/ModelInfer"
SERVED_BY = "served_by"


@dataclass(frozen=True)
class Answer:
    """What a server sent: outputs by name, and which twin gave each row where the model tells it."""

    outputs: Arrays
    served_by: frozenset[str]


@dataclass(frozen=True)
class Tolerance:
    """How far a value may be from the golden one: atol + rtol * |golden|, and the `slack` of its output besides."""

    atol: float
    rtol: float
    slack: Mapping[str, float] = field(default_factory=dict)


def random_inputs(config: Any, seed: int) -> dict[str, NDArray[Any]]:
    """A request of one row that fits a ModelConfig message: normal floats, small integers, short strings.

    Dynamic dimensions are 1. The same seed gives the same request.
    """
    random = np.random.default_rng(seed)
    batch = [1] if config.max_batch_size > 0 else []
    return {
        tensor.name: _values(random, batch + [max(1, size) for size in tensor.dims], _datatype(tensor.data_type))
        for tensor in config.input
        if not tensor.optional
    }


def _datatype(data_type: int) -> str:
    return str(model_config_pb2.DataType.Name(data_type).removeprefix("TYPE_").replace("STRING", "BYTES"))


def _values(random: np.random.Generator, shape: list[int], datatype: str) -> NDArray[Any]:
    if datatype == "BYTES":
        return np.full(shape, b"text", np.object_)
    dtype = np.dtype(triton_to_np_dtype(datatype))
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, 2, shape).astype(dtype)


def encode(model: str, inputs: Arrays) -> bytes:
    """A ModelInferRequest that asks for every output."""
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, array in inputs.items():
        datatype = wire_name(array.dtype)
        request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        request.raw_input_contents.append(
            serialize_byte_tensor(array).item() if datatype == "BYTES" else array.tobytes()
        )
    return bytes(request.SerializeToString())


def wire_name(dtype: np.dtype[Any]) -> str:
    """How a dtype is called on the wire."""
    if dtype.kind == "O":
        return "BYTES"
    if dtype.kind == "b":
        return "BOOL"
    kind = {"f": "FP", "i": "INT", "u": "UINT"}[dtype.kind]
    return f"{kind}{dtype.itemsize * 8}"


def decode(data: bytes) -> Answer:
    """Read a ModelInferResponse."""
    response = service_pb2.ModelInferResponse.FromString(data)
    arrays = {
        tensor.name: _array(tensor, raw)
        for tensor, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }
    return answer_of(arrays)


def answer_of(arrays: dict[str, NDArray[Any]]) -> Answer:
    """The outputs of a response as an answer: what tells who served is none of them."""
    served_by = arrays.pop(SERVED_BY, np.empty(0, np.object_))
    return Answer(arrays, frozenset(value.decode() for value in served_by.reshape(-1)))


def _array(tensor: Any, raw: bytes) -> NDArray[Any]:
    if tensor.datatype == "BYTES":
        flat: NDArray[Any] = deserialize_bytes_tensor(raw)
    else:
        flat = np.frombuffer(raw, triton_to_np_dtype(tensor.datatype))
    return flat.reshape(tuple(tensor.shape))


def difference(answer: Answer, golden: Answer, tolerance: Tolerance, twin: str | None) -> str | None:
    """What is wrong with an answer, in words: another twin, other outputs, other values; None if nothing.

    The words are the same for each answer that is wrong in the same way, so that they can be counted.
    """
    if twin is not None and answer.served_by != {twin}:
        return f"answered by {sorted(answer.served_by)}, expected '{twin}'"
    if answer.outputs.keys() != golden.outputs.keys():
        return f"outputs {sorted(answer.outputs)}, expected {sorted(golden.outputs)}"
    for name, expected in golden.outputs.items():
        found = answer.outputs[name]
        if found.shape != expected.shape or found.dtype != expected.dtype:
            return f"output '{name}' is {found.dtype}{list(found.shape)}, not {expected.dtype}{list(expected.shape)}"
        atol, rtol = tolerance.atol + tolerance.slack.get(name, 0.0), tolerance.rtol
        if differences(found, expected, atol=atol, rtol=rtol, of_largest=0.0)[1]:
            return f"output '{name}' differs from the golden answer by more than {atol:g} + {rtol:g} of the value"
    return None
