"""Calls and answers as HTTP has them; the tensors are packed and unpacked by tritonclient.http, in binary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import quote

from .calls import Call, Infer, Load, ReadConfig, ReadIndex, ReadMetadata, ReadStatistics, Unload
from .errors import InvalidAnswer
from .messages import infer_arguments, read_answer
from .statuses import http_error

__all__ = ["Request", "Response", "http_answer", "http_request"]

AnswerT = TypeVar("AnswerT")
_HEADER_LENGTH = "inference-header-content-length"


@dataclass(frozen=True)
class Request:
    """What is sent; ``path`` begins with a slash."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Response:
    """What came back, whatever its status; the names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def http_request(call: Call[Any], wire: ModuleType) -> Request:
    """Return a call as Triton's HTTP interface takes it; ``wire`` is tritonclient.http."""
    if isinstance(call, Infer):
        body, header_length = wire.InferenceServerClient.generate_request_body(**infer_arguments(call, wire))
        headers = {} if header_length is None else {_HEADER_LENGTH: str(header_length)}
        return Request("POST", _model_path(call) + "/infer", body, headers)
    if isinstance(call, ReadMetadata):
        return Request("GET", _model_path(call))
    if isinstance(call, ReadConfig):
        return Request("GET", _model_path(call) + "/config")
    if isinstance(call, ReadStatistics):
        return Request("GET", "/v2/models/stats")
    return Request("POST", _repository_path(call), b"{}", {"content-type": "application/json"})


def http_answer(call: Call[AnswerT], response: Response, wire: ModuleType, place: str) -> AnswerT:
    """Return the answer in a response, or raise the error that its status means."""
    if response.status != 200:
        raise http_error(response.status, place, _said(response))
    try:
        result = _result(call, response, wire)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidAnswer(place, f"the answer does not read as Triton's ({error!r})") from error
    return read_answer(call, result, place)


def _model_path(call: Infer | ReadMetadata | ReadConfig) -> str:
    path = "/v2/models/" + quote(call.model, safe="")
    return f"{path}/versions/{quote(call.version, safe='')}" if call.version else path


def _repository_path(call: Call[Any]) -> str:
    if isinstance(call, Load | Unload):
        return f"/v2/repository/models/{quote(call.model, safe='')}/{'load' if isinstance(call, Load) else 'unload'}"
    if isinstance(call, ReadIndex):
        return "/v2/repository/index"
    raise TypeError(f"Triton's HTTP interface has no such call: {call!r}")


def _result(call: Call[Any], response: Response, wire: ModuleType) -> Any:
    if not isinstance(call, Infer):
        return json.loads(response.body) if response.body else None
    return wire.InferenceServerClient.parse_response_body(
        response.body,
        header_length=response.headers.get(_HEADER_LENGTH),
        content_encoding=response.headers.get("content-encoding"),
    )


def _said(response: Response) -> str:
    """Return the server's own words: Triton's JSON, or the beginning of what a proxy wrote."""
    try:
        return str(json.loads(response.body)["error"])
    except (ValueError, KeyError, TypeError):
        text = " ".join(response.body[:200].decode("utf-8", "replace").split())
        return f"HTTP status {response.status}" + (f" ({text})" if text else "")
