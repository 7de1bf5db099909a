"""What Locust's users make of an answer: Locust is there, its patches of the standard library are not, nor a server."""

import importlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
from gevent.timeout import Timeout
from geventhttpclient._parser import HTTPParseError
from tritonclient.grpc import service_pb2

from loadtests.questions import Question
from loadtests.wire import Answer, Tolerance, encode

RIGHT = Answer({"y": np.array([[1, 2]], np.float32)}, frozenset())
QUESTION = Question({"x": np.zeros((1, 2), np.float32)}, RIGHT, Tolerance(1e-4, 1e-3))
WHOLE = RIGHT.outputs["y"].tobytes()


def http(length):
    """What stands before so many bytes of an answer over HTTP."""
    output = {"name": "y", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": length}}
    return json.dumps({"outputs": [output]}).encode()


def heads(head):
    return {"inference-header-content-length": str(len(head))}


class Cut:
    """A response whose connection ends before its content does, which is read only when it is asked for."""

    def __init__(self, error):
        self.error = error

    @property
    def content(self):
        raise self.error


@pytest.fixture(scope="module")
def users():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCUST_SKIP_MONKEY_PATCH", "1")
        return importlib.import_module("loadtests.users"), importlib.import_module("loadtests.rivals.users")


@pytest.fixture
def ask(users):
    """Lets a user of a kind ask once, and be answered with such bytes; gives what Locust is told."""
    made, rivals = users

    def once(kind, content, headers=None):
        told = []
        user = getattr(rivals if kind == "FastApiHttp" else made, kind)
        one = user.__new__(user)
        one.environment = SimpleNamespace(
            events=SimpleNamespace(request=SimpleNamespace(fire=lambda **k: told.append(k)))
        )
        one.environment.shared, one.host = made.Shared("net", [QUESTION], 10**9), "http://h"
        one.prepare()
        one._call = lambda request, timeout: content
        response = content if isinstance(content, Cut) else SimpleNamespace(content=content)
        response.status_code, response.headers = 200, headers or {}
        one.client = SimpleNamespace(client=SimpleNamespace(urlopen=lambda *a, **k: response))
        one.ask()
        (only,) = told
        return only["name"], only["exception"]

    return once


def answer(outputs):
    """A server's answer over gRPC: the protocol packs requests and answers alike."""
    request = service_pb2.ModelInferRequest.FromString(encode("net", outputs))
    response = service_pb2.ModelInferResponse(raw_output_contents=request.raw_input_contents)
    for tensor in request.inputs:
        response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    return response


def test_a_right_answer_is_counted_as_one(ask):
    head = http(8)
    assert ask("HybridGrpc", answer(RIGHT.outputs).SerializeToString()) == ("net", None)
    assert ask("HybridHttp", head + WHOLE, heads(head)) == ("net", None)
    assert ask("FastApiHttp", WHOLE) == ("net", None)


def test_another_one_is_wrong_and_the_first_one_is_always_compared(ask):
    name, error = ask("FastApiHttp", (RIGHT.outputs["y"] + 1).tobytes())
    assert (name, type(error).__name__) == ("net", "Wrong")


def short():
    made = answer(RIGHT.outputs)
    made.raw_output_contents[0] = WHOLE[:5]
    return made.SerializeToString()


def without():
    made = answer(RIGHT.outputs)
    del made.raw_output_contents[:]
    return made.SerializeToString()


def test_the_rival_is_asked_and_answers_in_the_order_of_names(users):
    made, rivals = users
    two = {name: np.full((1, 1), number, np.float32) for number, name in enumerate("ba")}
    one = rivals.FastApiHttp.__new__(rivals.FastApiHttp)
    one.shared = made.Shared("net", [Question(two, Answer(two, frozenset()), Tolerance(0.0, 0.0))])
    body = one.request(0)[1]
    assert np.frombuffer(body, np.float32).tolist() == [1, 0]
    assert {name: array.tolist() for name, array in one.answer(0, body, {}).outputs.items()} == {"a": [[1]], "b": [[0]]}


UNREADABLE = {
    "grpc-garbage": ("HybridGrpc", b"\xff\xff", None),
    "grpc-short": ("HybridGrpc", short(), None),
    "grpc-without-data": ("HybridGrpc", without(), None),
    "http-garbage": ("HybridHttp", b"<html>", None),
    "http-short": ("HybridHttp", http(8) + WHOLE[:5], heads(http(8))),
    "http-without-data": ("HybridHttp", b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2]}]}', None),
    "http-without-outputs": ("HybridHttp", b"{}", None),
    "bytes-short": ("FastApiHttp", WHOLE[:6], None),
    "bytes-long": ("FastApiHttp", WHOLE + b"\0", None),
}


@pytest.mark.parametrize(("kind", "content", "headers"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_a_failure_and_the_user_goes_on(ask, kind, content, headers):
    name, error = ask(kind, content, headers)
    assert name == "net failed"
    assert str(error).startswith("the answer cannot be read: ")


@pytest.mark.parametrize("kind", ["HybridHttp", "FastApiHttp"])
@pytest.mark.parametrize(
    "error", [HTTPParseError("Incomplete response."), ConnectionResetError("reset"), Timeout(60), ValueError("odd")]
)
def test_an_answer_that_breaks_off_is_a_failure_and_the_user_goes_on(ask, kind, error):
    name, told = ask(kind, Cut(error))
    assert (name, type(told).__name__) == ("net failed", "Failed")
    assert str(told) == f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("status", ["UNAVAILABLE", "503"])
@pytest.mark.parametrize(
    "said",
    [
        "the hybrid is full: 640 are under way already",
        "Exceeds maximum queue size",
        "[request id: 1] exceeds maximum queue size",
    ],
)
def test_who_is_turned_away_by_a_full_queue_is_refused(users, status, said):
    assert type(users[0]._failure(status, said)).__name__ == "Refused"
    assert type(users[0]._failure("INTERNAL", said)).__name__ == "Failed"
