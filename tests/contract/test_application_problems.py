"""Which status the HTTP API in client/examples gives to which error of the client."""

import json
from typing import Any

import pytest
from examples.fastapi_app import create_app, problems
from fastapi import FastAPI
from understudy_client import (
    AccessDenied,
    AsyncHybridClient,
    ClientClosed,
    ConnectionLost,
    DeadlineExceeded,
    FakeModel,
    FakeTransport,
    Infer,
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


async def _told(error: UnderstudyClientError) -> tuple[int, dict[str, str], Any]:
    """Ask an application whose only route raises `error`; return status, headers and body."""
    app = FastAPI()
    problems.install(app)

    @app.get("/models/{model}")
    async def fail(model: str) -> None:
        raise error

    return await _asked(app, "/models/net")


async def _asked(app: FastAPI, path: str) -> tuple[int, dict[str, str], Any]:
    sent: list[Any] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
    await app(scope, receive, send)
    start, body = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, json.loads(body["body"])


class _Refusing(FakeTransport):
    """Refuses every request for inference, or every other one."""

    def __init__(self, *, inference: bool) -> None:
        super().__init__(FakeModel("net", {"x": ("FP32", [-1])}, {"y": ("FP32", [-1])}, lambda inputs: inputs))
        self._inference = inference

    def send(self, call: Any, timeout_s: float) -> Any:
        if isinstance(call, Infer) == self._inference:
            raise InvalidRequest("here", "no")
        return super().send(call, timeout_s)


@pytest.mark.parametrize(("inference", "status"), [(True, 200), (False, 503)], ids=["zeros", "its description"])
async def test_an_application_is_ready_where_a_model_says_what_it_takes(*, inference: bool, status: int) -> None:
    """That it does not like zeros takes a model to say; that nobody describes one does not."""
    app = create_app({"PREDICT_MODELS": "net"})
    async with AsyncHybridClient(transport=_Refusing(inference=inference)) as client:
        app.state.client = client
        found, _, _ = await _asked(app, "/readyz")
    assert found == status


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
