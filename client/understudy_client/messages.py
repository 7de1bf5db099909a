"""Calls and answers as tritonclient has them: its verbs on the way out, its JSON on the way in.

tritonclient's gRPC clients and its asyncio HTTP client have the same verbs. The answers of all protocols but to
inference read as the same JSON once gRPC gives it as such (with integers as strings, and zeros left out).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, TypeVar, cast

from .calls import (
    Call,
    Config,
    Counters,
    IndexEntry,
    Infer,
    InferAnswer,
    Load,
    Metadata,
    ReadConfig,
    ReadIndex,
    ReadMetadata,
    ReadStatistics,
    TensorSpec,
    Unload,
)
from .errors import InvalidAnswer

__all__ = ["infer_arguments", "read_answer", "verb"]

AnswerT = TypeVar("AnswerT")
Json = Mapping[str, Any]

# tritonclient's method for each call but `Infer`, with the names of its arguments beside the call's attributes.
_MODEL_ARGUMENTS = {"model_name": "model", "model_version": "version"}
_VERBS: dict[type[Call[Any]], tuple[str, dict[str, str]]] = {
    ReadMetadata: ("get_model_metadata", _MODEL_ARGUMENTS),
    ReadConfig: ("get_model_config", _MODEL_ARGUMENTS),
    ReadStatistics: ("get_inference_statistics", {}),
    ReadIndex: ("get_model_repository_index", {}),
    Load: ("load_model", {"model_name": "model"}),
    Unload: ("unload_model", {"model_name": "model"}),
}


def verb(call: Call[Any], wire: ModuleType) -> tuple[str, dict[str, Any]]:
    """Return the name of tritonclient's method for a call, and its arguments; ``wire`` is its module for a protocol."""
    if isinstance(call, Infer):
        return "infer", {"model_name": call.model, "model_version": call.version, **infer_arguments(call, wire)}
    method, arguments = _VERBS[type(call)]
    return method, {argument: getattr(call, attribute) for argument, attribute in arguments.items()}


def infer_arguments(call: Infer, wire: ModuleType) -> dict[str, Any]:
    """Return the inputs, outputs, id and parameters of a request as tritonclient takes them; tensors are binary."""
    inputs = []
    for tensor in call.inputs:
        infer_input = wire.InferInput(tensor.name, list(tensor.array.shape), tensor.datatype)
        inputs.append(infer_input.set_data_from_numpy(tensor.array))
    return {
        "inputs": inputs,
        "outputs": [wire.InferRequestedOutput(name) for name in call.outputs] or None,
        "request_id": call.request_id,
        "parameters": dict(call.parameters),
    }


def read_answer(call: Call[AnswerT], result: Any, place: str) -> AnswerT:
    """Return the answer in what tritonclient gave: its result for inference, the JSON for anything else.

    Raises `InvalidAnswer` where it does not read as Triton's, or where bytes, dtype and shape disagree.
    """
    reader = _READERS.get(type(call))
    try:
        return cast(AnswerT, reader(result) if reader is not None else None)
    except (AttributeError, KeyError, TypeError, ValueError, struct.error) as error:
        raise InvalidAnswer(place, f"the answer does not read as Triton's ({error!r})") from error


def _infer_answer(result: Any) -> InferAnswer:
    response = result.get_response()
    if isinstance(response, Mapping):  # HTTP
        model, version = response["model_name"], response.get("model_version", "")
        names = [output["name"] for output in response.get("outputs", ())]
    else:
        model, version = response.model_name, response.model_version
        names = [output.name for output in response.outputs]
    return InferAnswer(model, str(version), {name: result.as_numpy(name) for name in names})


def _metadata(payload: Json) -> Metadata:
    return Metadata(
        name=payload["name"],
        versions=tuple(payload.get("versions", ())),
        inputs=tuple(map(_spec, payload.get("inputs", ()))),
        outputs=tuple(map(_spec, payload.get("outputs", ()))),
    )


def _spec(payload: Json) -> TensorSpec:
    return TensorSpec(payload["name"], payload["datatype"], tuple(int(size) for size in payload.get("shape", ())))


def _config(payload: Json) -> Config:
    config = payload.get("config", payload)  # gRPC wraps it
    optional = frozenset(tensor["name"] for tensor in config.get("input", ()) if tensor.get("optional"))
    return Config(int(config.get("max_batch_size", 0)), optional)


def _index(payload: Any) -> tuple[IndexEntry, ...]:
    entries = payload.get("models", ()) if isinstance(payload, Mapping) else payload  # gRPC wraps it
    fields = ("name", "version", "state", "reason")
    return tuple(IndexEntry(*(str(entry.get(field, "")) for field in fields)) for entry in entries)


def _statistics(payload: Json) -> tuple[Counters, ...]:
    return tuple(map(_counters, payload.get("model_stats", ())))


def _counters(payload: Json) -> Counters:
    totals = payload.get("inference_stats", {})
    batches = payload.get("batch_stats", ())
    return Counters(
        model=payload["name"],
        version=str(payload.get("version", "")),
        successes=_number(totals, "success", "count"),
        failures=_number(totals, "fail", "count"),
        rows=_number(payload, "inference_count"),
        queue_ns=_number(totals, "queue", "ns"),
        queue_count=_number(totals, "queue", "count"),
        batch_rows=sum(_number(batch, "batch_size") * _number(batch, "compute_infer", "count") for batch in batches),
        batch_ns=sum(
            _number(batch, part, "ns")
            for batch in batches
            for part in ("compute_input", "compute_infer", "compute_output")
        ),
    )


def _number(payload: Any, *keys: str) -> int:
    """Return an integer some levels down; what gRPC leaves out is 0."""
    for key in keys:
        payload = payload.get(key, {})
    return int(payload or 0)


_READERS: dict[type[Call[Any]], Callable[[Any], object]] = {
    Infer: _infer_answer,
    ReadMetadata: _metadata,
    ReadConfig: _config,
    ReadStatistics: _statistics,
    ReadIndex: _index,
}
