"""Which status the HTTP API in client/examples gives to which error of the client."""

import json
from typing import Any

import pytest
from examples.fastapi_app import problems
from fastapi import FastAPI
from understudy_client import (
    AccessDenied,
    ClientClosed,
    ConnectionLost,
    DeadlineExceeded,
    InvalidAnswer,
    InvalidRequest,
    ModelNotFound,
    ModelNotReady,
    RequestCancelled,
    RequestTooLarge,
    ServerError,
    ServerUnavailable,
    UnderstudyClientError,
)


async def _told(error: UnderstudyClientError) -> tuple[int, dict[str, str], dict[str, str]]:
    """Ask an application whose only route raises `error`; return status, headers and body."""
    app = FastAPI()
    problems.install(app)

    @app.get("/models/{model}")
    async def fail(model: str) -> None:
        raise error

    sent: list[Any] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/models/net", "query_string": b"", "headers": []}
    await app(scope, receive, send)
    start, body = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, json.loads(body["body"])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RequestTooLarge("here", "3 GB"), 413),
        (InvalidRequest("here", "no"), 422),
        (ModelNotFound("here", "no"), 404),
        (DeadlineExceeded("here"), 504),
        (ServerUnavailable("here", "queue full"), 503),
        (ConnectionLost("here", "reset by peer"), 503),
        (ModelNotReady("here", "LOADING"), 503),
        (RequestCancelled("here"), 503),
        (ClientClosed("it is closed"), 503),
        (ServerError("here", "oops"), 502),
        (InvalidAnswer("here", "no 'y'"), 502),
        (AccessDenied("here", "no"), 502),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
async def test_a_caller_may_come_again_for_all_that_passes(error: UnderstudyClientError, status: int) -> None:
    found, headers, body = await _told(error)
    assert (found, body["error"]) == (status, type(error).__name__)
    assert ("retry-after" in headers) == (status == 503)
