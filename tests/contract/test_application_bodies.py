"""The HTTP API in client/examples with a client over a fake transport: what long bodies and answers cost the others."""

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from examples.fastapi_app import app as module
from examples.fastapi_app import create_app
from examples.fastapi_app.bodies import JSON, NPY
from understudy_client import AsyncHybridClient, FakeModel, FakeTransport

MIB = 2**20
GONE = b"the caller has gone"
MODEL = FakeModel(
    "net", inputs={"x": ("FP32", [-1, -1])}, outputs={"y": ("FP32", [-1, -1])}, answer=lambda x: {"y": x["x"]}
)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def asked(
    client: AsyncHybridClient,
    pieces: AsyncIterator[bytes],
    settings: dict[str, str] | None = None,
    content_type: str = JSON,
    **headers: str,
) -> Reply:
    """Send the pieces of a body to an application that asks the model through `client`."""
    app = create_app({"PREDICT_MODELS": "net", **(settings or {})})
    app.state.client = client
    sent: list[Any] = []

    async def receive() -> dict[str, object]:
        piece = await anext(pieces, None)
        if piece == GONE:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"content-type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/models/net/predict",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    await app(scope, receive, send)
    start, body = sent
    return Reply(start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, body["body"])


async def whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def stuck(sent: bytes) -> AsyncIterator[bytes]:
    yield sent
    await asyncio.Event().wait()


@pytest.fixture
async def client() -> AsyncIterator[AsyncHybridClient]:
    async with AsyncHybridClient(transport=FakeTransport(MODEL)) as made:
        yield made


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


async def test_json_has_a_limit_of_its_own_and_a_npy_the_larger_one(client: AsyncHybridClient) -> None:
    body = b'{"inputs": [[1.0]]}'
    assert (await asked(client, whole(body.ljust(4 * MIB)))).status == 200
    reply = await asked(client, whole(body.ljust(4 * MIB + 1)))
    assert (reply.status, reply.json["error"]) == (413, "BodyTooLarge")
    assert reply.json["message"] == (
        "The body is longer than 4,194,304 bytes; send fewer rows in one request, or a .npy."
    )
    array = np.zeros((2, 2 * MIB), np.float32)
    reply = await asked(client, whole(npy(array)), None, NPY, accept=NPY)
    assert reply.status == 200
    assert np.load(io.BytesIO(reply.body)).shape == array.shape


async def test_a_caller_that_goes_while_it_sends_is_no_crash_of_the_application(client: AsyncHybridClient) -> None:
    """As an exception it would be a 500 and a traceback in the server's log."""

    async def cut() -> AsyncIterator[bytes]:
        yield b'{"inputs": [['
        yield GONE

    reply = await asked(client, cut())
    assert (reply.status, reply.json["error"]) == (400, "BodyIncomplete")
    assert reply.json["message"] == "The connection ended before the whole body was there; send it again."


async def test_no_body_is_longer_than_the_longest(client: AsyncHybridClient) -> None:
    reply = await asked(client, whole(bytes(MIB + 1)), {"PREDICT_MOST_MIB": "1"})
    assert (reply.status, reply.json["message"]) == (
        413,
        "The body is longer than 1,048,576 bytes; send fewer rows in one request.",
    )


@pytest.mark.parametrize(("columns", "aside"), [(4, False), (2**16, True)])
async def test_long_bodies_and_answers_are_read_and_written_in_threads(
    client: AsyncHybridClient, monkeypatch: pytest.MonkeyPatch, columns: int, *, aside: bool
) -> None:
    threads = {}

    def watched(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def work_watched(*arguments: Any) -> Any:
            threads[name] = threading.current_thread()
            return work(*arguments)

        return work_watched

    for name in ("parse", "json_answer"):
        monkeypatch.setattr(module, name, watched(name, getattr(module, name)))
    inputs = [[0.5] * columns]
    reply = await asked(client, whole(json.dumps({"inputs": inputs}).encode()))
    assert reply.json["outputs"] == {"y": inputs}
    assert {name: thread is not threading.main_thread() for name, thread in threads.items()} == {
        "parse": aside,
        "json_answer": aside,
    }


@pytest.mark.parametrize(
    "shape", [(), (3,), (0, 4), (200_000,), (3, 70_000), (2, 2, 40_000), (90_000, 1), (30_000, 1, 3)]
)
@pytest.mark.parametrize("kind", ["numbers", "no numbers", "strings"])
async def test_an_answer_written_in_pieces_reads_as_one(shape: tuple[int, ...], kind: str) -> None:
    count = int(np.prod(shape))
    values: Any = np.arange(count, dtype=np.float64)
    shown = values.tolist()
    if kind == "no numbers":
        values[-1:], shown[-1:] = np.nan, ["NaN"] * min(count, 1)
    if kind == "strings":
        values, shown = np.array([b'"%d' % n for n in range(count)], object), [f'"{n}' for n in range(count)]
    values = values.reshape(shape)
    model = FakeModel(
        "net",
        inputs={"x": ("FP32", [-1])},
        outputs={"y": ("BYTES" if kind == "strings" else "FP64", shape), "ä": ("FP32", [0])},
        answer=lambda _: {"y": values, "ä": np.zeros(0, np.float32)},
    )
    async with AsyncHybridClient(transport=FakeTransport(model)) as client:
        reply = await asked(client, whole(b'{"inputs": [1.0]}'))
    assert reply.json["outputs"] == {"y": np.array(shown, object).reshape(shape).tolist(), "ä": []}
    assert reply.json["model"] == "net"


@pytest.mark.parametrize(
    ("settings", "headers", "limit"),
    [
        ({"PREDICT_BODY_S": "0.2"}, {}, "0.2"),
        ({"PREDICT_BODY_S": "0.2"}, {"x_deadline_ms": "60000"}, "0.2"),
        ({}, {"x_deadline_ms": "50"}, "0.05"),
    ],
    ids=["the application's limit", "more than that", "the caller's own"],
)
@pytest.mark.parametrize("sent", [b'{"inputs": ', bytes(5 * MIB)], ids=["short", "too long"])
async def test_a_body_that_does_not_end_is_refused(
    client: AsyncHybridClient, sent: bytes, settings: dict[str, str], headers: dict[str, str], limit: str
) -> None:
    reply = await asyncio.wait_for(asked(client, stuck(sent), settings, **headers), 20)
    assert (reply.status, reply.json["error"]) == (408, "BodyTooSlow")
    assert reply.json["message"] == (
        f"The body was not there within {limit} s; send fewer rows in one request, or allow more time."
    )
    assert reply.headers["connection"] == "close"


async def test_what_a_body_takes_of_its_deadline_the_models_have_not() -> None:
    fake = FakeTransport(MODEL)

    async def late() -> AsyncIterator[bytes]:
        yield b'{"inputs": '
        await asyncio.sleep(0.5)
        yield b"[[1.0]]}"

    async with AsyncHybridClient(transport=fake) as client:
        assert (await asked(client, late(), x_deadline_ms="9000")).status == 200
    (request,) = fake.requests
    assert int(request.parameters["deadline_ms"]) <= 8_510


@pytest.mark.parametrize(
    ("strings", "sentence"),
    [
        ([b"RIFF\x00\x00", b"a"], "strings that end in zero bytes, which a .npy does not keep; ask for JSON."),
        (
            [b"a" * 2**17, *[b""] * 2**10],
            "strings of very unequal lengths, and a .npy makes all as long as the longest;",
        ),
    ],
    ids=["zeros at the end", "one long"],
)
async def test_strings_that_a_npy_cannot_hold_are_answered_in_json_alone(strings: list[bytes], sentence: str) -> None:
    model = FakeModel(
        "net",
        inputs={"x": ("FP32", [-1])},
        outputs={"label": ("BYTES", [-1])},
        answer=lambda _: {"label": np.array(strings, object)},
    )
    async with AsyncHybridClient(transport=FakeTransport(model)) as client:
        reply = await asked(client, whole(b'{"inputs": [1.0]}'), accept=NPY)
        assert (reply.status, reply.json["error"]) == (406, "NotInNpy")
        assert sentence in reply.json["message"]
        reply = await asked(client, whole(b'{"inputs": [1.0]}'))
        assert reply.json["outputs"]["label"] == [item.decode() for item in strings]
