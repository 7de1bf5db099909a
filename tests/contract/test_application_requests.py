"""What the HTTP API in client/examples cannot read of a request is refused in one sentence, whatever the bytes are."""

import json
import re
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from examples.fastapi_app import create_app
from examples.fastapi_app.bodies import JSON, NPY, parse
from examples.fastapi_app.problems import Refusal
from hypothesis import given
from hypothesis import strategies as st

HEADER = "{'descr': %s, 'fortran_order': False, 'shape': %s}"
NONE = r"The body is no \.npy file; see"
IMPOSSIBLE = r"The header of the \.npy tells of an array that cannot be; see"


def npy(header: str, size: int) -> bytearray:
    """A .npy with that header, whatever it says, and so many bytes of values."""
    text = header.encode("latin1")
    return bytearray(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(size))


@pytest.mark.parametrize(
    ("header", "size", "sentence"),
    [
        ("{'descr': '<f4', ", 0, NONE),
        ("{[]: 1}", 0, NONE),
        ("{'descr': '<f4', 1: 2}", 0, NONE),
        ("(" * 9_000, 0, NONE),
        (HEADER % ("()", "(4,)"), 16, NONE),
        (HEADER % ("[5]", "(4,)"), 16, NONE),
        (HEADER % ("'<f4'", "(-1, -4)"), 16, IMPOSSIBLE),
        (HEADER % ("'<f4'", "(0, -1)"), 0, IMPOSSIBLE),
        (HEADER % ("'<f4'", f"(0, {2**70})"), 0, IMPOSSIBLE),
        (HEADER % ("'<f4'", f"(0, {2**62})"), 0, IMPOSSIBLE),
        (HEADER % ("'<f4'", f"(0x{'f' * 9_000},)"), 16, IMPOSSIBLE),
        (HEADER % ("'<f4'", (1,) * 70), 4, IMPOSSIBLE),
        (HEADER % ("'<f4'", (0,) * 70), 0, IMPOSSIBLE),
        (HEADER % ("'<f4'", "(True, 0)"), 0, IMPOSSIBLE),
        (HEADER % ("('<f4', (2,))", "(2,)"), 16, IMPOSSIBLE),
        (HEADER % ("'S0'", f"({10**10},)"), 0, r"0 bytes of values, which is not what its shape \[10000000000\]"),
    ],
    ids=lambda value: str(value)[:70],
)
def test_a_header_that_makes_no_array_is_a_malformed_body(header: str, size: int, sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence) as refused:
        parse(NPY, npy(header, size))
    assert (refused.value.status, refused.value.kind) == (400, "MalformedBody")
    assert "\n" not in str(refused.value)


PIECES = [
    "'<f4'",
    "'S0'",
    "'O'",
    "()",
    "(2,)",
    "(0, -1)",
    "[('a', '<f4')]",
    "-1",
    "4",
    "0",
    "{",
    "}",
    "[",
    ",",
    "L",
    "\n",
]


@given(st.lists(st.sampled_from(PIECES), max_size=4).map("".join), st.lists(st.sampled_from(PIECES), max_size=4))
def test_any_header_makes_an_array_or_is_refused(descr: str, shape: list[str]) -> None:
    with suppress(Refusal):
        array = parse(NPY, npy(HEADER % (descr, "".join(shape)), 16))
        assert isinstance(array, np.ndarray)
        assert array.nbytes == 16


@pytest.mark.parametrize("number", ["1e400", "-1E+999", f"{'9' * 400}.5"], ids=lambda text: text[:7])
def test_a_number_that_would_become_infinite_is_a_malformed_body(number: str) -> None:
    with pytest.raises(
        Refusal, match=rf"The body is no JSON \({re.escape(number[:7])}.*is more than a number here may be\)"
    ):
        parse(JSON, bytearray(f'{{"inputs": [[{number}, 1]]}}'.encode()))
    assert parse(JSON, bytearray(b'{"inputs": [[1e308, -0.5, 1e-999]]}')) == [[1e308, -0.5, 0.0]]


@pytest.mark.parametrize("deadline", ["0", "-1", "soon", "1e3", "9" * 400, "9" * 5_000], ids=lambda text: text[:5])
async def test_a_deadline_that_cannot_be_used_is_an_invalid_parameter(deadline: str) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b'{"inputs": [[1.0]]}'}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"x-deadline-ms", deadline.encode())]
    scope = {"type": "http", "method": "POST", "path": "/models/net/predict", "query_string": b"", "headers": headers}
    await create_app({"PREDICT_MODELS": "net"})(scope, receive, send)
    start, body = sent
    told = json.loads(body["body"])
    assert (start["status"], told["error"]) == (422, "InvalidParameter")
    assert told["message"].startswith("header parameter 'x-deadline-ms': ")
    assert told["message"].endswith(".")
