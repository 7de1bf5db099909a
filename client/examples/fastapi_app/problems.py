"""What a caller is told when there is no answer: one status and one sentence for each kind of error.

    400  MalformedBody (no JSON, no .npy, lists in lists without end), BodyIncomplete (the caller has gone)
    404  ModelNotFound, NotOffered
    406  NoSingleOutput, NotInNpy: a .npy holds one array, and no string that ends in zeros
    408  BodyTooSlow; the connection is closed, since the rest of the body may still come
    413  BodyTooLarge, RequestTooLarge
    415  UnknownContentType
    422  InvalidRequest and its kinds (UnknownTensor, WrongDtype, WrongShape, …), InvalidParameter
    502  ServerError, InvalidAnswer, AccessDenied: the model's fault, or these settings'
    503  ServerUnavailable, ConnectionLost, ModelNotReady, NotReady, RequestCancelled, ClientClosed: again after
         `Retry-After`, since a prediction may run twice
    504  DeadlineExceeded: too little time, or too much to do

What the client says of the caller's own mistakes is handed on. Its other sentences name addresses of the inside and
quote the server, so they go to the log, and the caller gets one of ours.
"""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from understudy_client import (
    ClientClosed,
    ConnectionLost,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    ModelNotReady,
    RequestCancelled,
    RequestTooLarge,
    ServerUnavailable,
    UnderstudyClientError,
)

from .request_ids import REQUEST_ID, request_id

__all__ = ["Refusal", "Problem", "install", "responses"]

_LOG = logging.getLogger(__name__)
_RETRY_AFTER_S = "1"
_FAILED = "Model {model} failed on this request; the application's log has the reason."
# The first line that fits an error counts; what fits none is `_FAILED`, 502. No sentence: the client's own is taken.
_TABLE: tuple[tuple[tuple[type[UnderstudyClientError], ...], HTTPStatus, str], ...] = (
    ((RequestTooLarge,), HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request holds too many bytes; send fewer rows."),
    ((InvalidRequest,), HTTPStatus.UNPROCESSABLE_ENTITY, ""),
    ((ModelNotFound,), HTTPStatus.NOT_FOUND, "Model {model} is not served, or not in the version asked for."),
    (
        (DeadlineExceeded,),
        HTTPStatus.GATEWAY_TIMEOUT,
        "Model {model} did not answer within the deadline; allow more time or send fewer rows.",
    ),
    (
        (ServerUnavailable, ConnectionLost, ModelNotReady, RequestCancelled, ClientClosed),
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"Model {{model}} cannot answer now; try again in {_RETRY_AFTER_S} s.",
    ),
)


class Problem(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="The kind of error, to branch on", examples=["WrongShape"])
    message: str = Field(
        description="One sentence for a person",
        examples=["Input 'x' of model 'm' takes shape [-1, 2] (-1 is any size), and got [1, 3]; …"],
    )
    request_id: str = Field(description="The request's, to find it in logs", examples=["0b6c3c5e"])


class Refusal(Exception):
    """A request that is refused here, without or after asking the client; the sentence is for the caller."""

    def __init__(self, status: HTTPStatus, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.kind = status, kind


_MEANINGS = {
    HTTPStatus.BAD_REQUEST: "The body cannot be read",
    HTTPStatus.NOT_FOUND: "There is no such model, or no such version",
    HTTPStatus.NOT_ACCEPTABLE: "The answer is no single array, or holds strings that a .npy does not keep",
    HTTPStatus.REQUEST_TIMEOUT: "The body was not there in time",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is neither JSON nor .npy",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The model does not take these values, or a parameter cannot be used",
    HTTPStatus.BAD_GATEWAY: "The model failed",
    HTTPStatus.SERVICE_UNAVAILABLE: "The model cannot answer now; the header Retry-After says when to try again",
    HTTPStatus.GATEWAY_TIMEOUT: "No answer within the deadline",
}


def responses(*statuses: int) -> dict[int | str, dict[str, object]]:
    """Return what the OpenAPI schema says of errors."""
    return {status: {"model": Problem, "description": _MEANINGS[HTTPStatus(status)]} for status in statuses}


def install(app: FastAPI) -> None:
    """Let every error of a route become a `Problem`."""
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(UnderstudyClientError, _client_error)
    app.add_exception_handler(RequestValidationError, _invalid_parameter)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)


def _problem(request: Request, status: int, kind: str, sentence: str) -> JSONResponse:
    name = request_id(request)
    headers = {REQUEST_ID: name}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["retry-after"] = _RETRY_AFTER_S
    if status == HTTPStatus.REQUEST_TIMEOUT:
        headers["connection"] = "close"
    body = Problem(error=kind, message=sentence, request_id=name)
    return JSONResponse(body.model_dump(), status, headers)


async def _refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    return _problem(request, error.status, error.kind, str(error))


async def _client_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, UnderstudyClientError)
    model = request.path_params.get("model", "")
    found = ((status, sentence) for kinds, status, sentence in _TABLE if isinstance(error, kinds))
    status, sentence = next(found, (HTTPStatus.BAD_GATEWAY, _FAILED))
    if isinstance(error, InvalidRequest) and not sentence:
        sentence = _correction(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _LOG.warning("request %s: %s", request_id(request), error)
    return _problem(request, status, type(error).__name__, sentence.replace("{model}", repr(model)))


def _correction(error: InvalidRequest) -> str:
    """What the client's own checks say, or the server's words without the address that the client puts before them."""
    if type(error) is not InvalidRequest:
        return str(error)
    detail = " ".join(error.detail.split()).rstrip(".; ")
    return f"Model {{model}} refused the request: {detail}; correct it."


async def _invalid_parameter(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    wrong = [f"{one['loc'][0]} parameter {one['loc'][-1]!r}: {one['msg']}" for one in error.errors()]
    return _problem(request, HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidParameter", f"{'; '.join(wrong)}.")


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    sentence = f"{request.method} {request.url.path}: {error.detail}; GET /docs shows what there is."
    answer = _problem(request, error.status_code, HTTPStatus(error.status_code).phrase.replace(" ", ""), sentence)
    answer.headers.update(error.headers or {})
    return answer


async def _bug(request: Request, error: Exception) -> JSONResponse:
    sentence = "The application itself failed; its log has the reason."
    return _problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, type(error).__name__, sentence)
