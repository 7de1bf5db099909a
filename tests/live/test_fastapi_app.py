"""The example application under a real uvicorn, in front of a real Triton: asked over HTTP, as its callers would."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples.fastapi_app.answers import PredictionShown
from examples.fastapi_app.problems import Problem
from examples.fastapi_app.settings import Settings, SettingsError
from openapi_spec_validator import validate

from serving.ports import LOOPBACK, choose

from .conftest import serving_triton
from .hybrid_net import Net, Shape, right, until

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "application.md").read_text()
MODEL = Path(__file__).parent / "test_client_docs_models" / "efficientnet_lite0"
JSON = {"content-type": "application/json"}
NPY = {"content-type": "application/octet-stream"}
WANT_NPY = {"accept": "application/octet-stream"}


@dataclass(frozen=True)
class Reply:
    """An answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def array(self) -> Any:
        return np.load(io.BytesIO(self.body))


@dataclass(frozen=True)
class App:
    """The application in a process of its own."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """One request on a connection of its own."""
        connection = HTTPConnection(LOOPBACK, self.port, timeout=60)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def ask(self, model: str, inputs: Any, query: str = "", **headers: str) -> Reply:
        """Ask a model with a .npy for an array, and with JSON for anything else."""
        array = isinstance(inputs, np.ndarray)
        body = npy(inputs) if array else json.dumps({"inputs": inputs}).encode()
        return self.send("POST", f"/models/{model}/predict{query}", body, **((NPY if array else JSON) | headers))

    def stop(self) -> int:
        """End it as an orchestrator would."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def launch(folder: Path, **settings: str) -> App:
    """Start the application as the how-to says; the log is not read before it is needed."""
    port = choose({"http": None})["http"]
    (command,) = re.findall(r"^\$ PREDICT_MODELS=\S+ (uvicorn .*)$", PAGE, re.MULTILINE)
    log = folder / f"app{port}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", *command.split(), "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, **{f"PREDICT_{name}": value for name, value in settings.items()}},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    return App(process, port, log)


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[App]:
    """The application, once it answers."""
    app = launch(folder, **settings)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                if app.send("GET", "/healthz").status == 200:
                    break
            except OSError:
                assert app.process.poll() is None, app.log.read_text()
                assert time.monotonic() < end, app.log.read_text()
                time.sleep(0.05)
        yield app
        assert "Traceback" not in app.log.read_text(), app.log.read_text()
    finally:
        app.stop()


@pytest.fixture(scope="module")
def net(triton: Any) -> Iterator[Net]:
    made = Net(triton, "app_net", Shape(seen=True)).load()
    yield made
    made.close()


@pytest.fixture(scope="module")
def words(triton: Any) -> Iterator[Net]:
    made = Net(triton, "app_words", Shape(dtype="STRING", dims=(1,))).load()
    yield made
    made.close()


@pytest.fixture(scope="module", params=["grpc", "http"])
def app(request: pytest.FixtureRequest, triton: Any, net: Net, words: Net, tmp_path_factory: Any) -> Iterator[App]:
    """It reaches Triton over gRPC, and once more over HTTP."""
    url = triton.server.grpc_url if request.param == "grpc" else triton.server.http_url
    folder = tmp_path_factory.mktemp("app")
    with running(folder, MODELS="app_net, app_words", URL=url, PROTOCOL=request.param, MOST_MIB="1") as started:
        yield started


@pytest.fixture(autouse=True)
def behaved(request: pytest.FixtureRequest) -> Iterator[None]:
    """The net's twins behave and are free again after a test that told them something else."""
    yield
    if request.node.get_closest_marker("usefixtures"):
        request.getfixturevalue("net").settle()


spoils = pytest.mark.usefixtures("net")


def rows(*starts: float, width: int = 4) -> Any:
    x = np.zeros((len(starts), width), np.float32)
    x[:, 0] = starts
    return x


def test_json_is_answered_with_values_and_with_who_gave_them(app: App) -> None:
    x = rows(1, 2.5)
    for inputs in (x.tolist(), {"x": x.tolist()}, {"x": [[1, 0, 0, 0], [2.5, 0, 0, 0]]}):
        reply = app.ask("app_net", inputs, "?outputs=y", x_request_id="caller-17")
        assert reply.status == 200, reply.body
        shown = PredictionShown.model_validate(reply.json, strict=True)
        assert shown.outputs == {"y": right(x).tolist()}
        assert (shown.model, shown.model_version, shown.served_by) == ("app_net", "1", "onnx")
        assert shown.served_by_rows == ["onnx", "onnx"]
        assert (shown.request_id, reply.headers["x-request-id"]) == ("caller-17", "caller-17")


@pytest.mark.parametrize(
    "array",
    [rows(1, 2, 3), np.asfortranarray(rows(*range(7))), rows(1, 2).astype(">f4"), rows(3)[:, ::2]],
    ids=["plain", "fortran", "big-endian", "strided"],
)
def test_an_array_goes_in_and_comes_out_as_npy(app: App, array: Any) -> None:
    reply = app.ask("app_net", array, "?outputs=y", **WANT_NPY)
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == "application/octet-stream"
    assert (reply.headers["x-served-by"], reply.headers["x-model-version"]) == ("onnx", "1")
    assert reply.array.dtype == np.float32
    np.testing.assert_array_equal(reply.array, right(array.astype(np.float32)))


def test_more_rows_than_a_batch_holds_are_answered_in_order(app: App) -> None:
    x = rows(*range(50))
    np.testing.assert_array_equal(app.ask("app_net", x, "?outputs=y", **WANT_NPY).array, right(x))


def test_the_request_reaches_the_model_with_its_id_and_what_is_left_of_its_deadline(app: App) -> None:
    reply = app.ask("app_net", rows(1), "?outputs=seen&version=1", x_request_id="r-5", x_deadline_ms="9000")
    seen = json.loads(reply.json["outputs"]["seen"][0][0])
    assert seen["request_id"] == "r-5"
    # Of the 9,000 ms, the hybrid's first twin has its share.
    assert 0 < seen["parameters"].get("deadline_ms", 1) <= 9000


def test_strings_travel_as_text(app: App) -> None:
    reply = app.ask("app_words", {"x": [["Kätzchen"], [""]]})
    assert reply.json["outputs"] == {"y": [["Kätzchen!"], ["!"]]}
    raw = app.ask("app_words", np.array([["a"], ["bc"]]), **WANT_NPY)
    assert raw.array.tolist() == [[b"a!"], [b"bc!"]]


def test_a_model_tells_what_it_takes(app: App) -> None:
    reply = app.send("GET", "/models/app_net")
    assert reply.json["inputs"] == [{"name": "x", "dtype": "FP32", "shape": [-1, -1]}]
    assert [output["name"] for output in reply.json["outputs"]] == ["y", "seen"]


@spoils
def test_the_original_answers_while_the_twin_is_unloaded(app: App, net: Net, triton: Any) -> None:
    x = rows(4, 5)
    triton.control.unload("app_net_onnx")
    try:
        for inputs in (x, x.tolist()):
            reply = app.ask("app_net", inputs, "?outputs=y")
            assert (reply.status, reply.json["served_by"]) == (200, "original")
            assert reply.json["outputs"]["y"] == right(x).tolist()
    finally:
        triton.control.load("app_net_onnx")


@spoils
def test_rows_that_came_from_different_twins_are_told_apart(app: App, net: Net) -> None:
    net.behave("onnx", nan=["7.0"])
    reply = app.ask("app_net", rows(1, 7), "?outputs=y").json
    assert (reply["served_by"], reply["served_by_rows"]) == ("mixed", ["onnx", "original"])
    assert reply["outputs"]["y"] == right(rows(1, 7)).tolist()


@spoils
def test_what_is_no_number_in_json_comes_back_as_a_word(app: App, net: Net) -> None:
    for twin in ("onnx", "original"):
        net.behave(twin, nan=["7.0"])
    assert app.ask("app_net", rows(7), "?outputs=y").json["outputs"] == {"y": [["NaN"] * 4]}


def refused(reply: Reply, status: int, kind: str, sentence: str) -> None:
    """Check all that an error must be."""
    assert reply.status == status, reply.body
    problem = Problem.model_validate(reply.json, strict=True)
    assert problem.error == kind
    assert re.search(sentence, problem.message), problem.message
    assert problem.message.endswith(".")
    assert "\n" not in problem.message
    assert problem.request_id == reply.headers["x-request-id"]
    assert ("retry-after" in reply.headers) == (status == 503)
    assert LOOPBACK not in problem.message


def claiming(*shape: int) -> bytes:
    """A .npy whose header tells of more than the four values that follow."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue() + bytes(16)


@pytest.mark.parametrize(
    ("body", "headers", "status", "kind", "sentence"),
    [
        (b'{"inputs": [[1.0,', JSON, 400, "MalformedBody", "The body is no JSON"),
        (b"\xff\xfe", JSON, 400, "MalformedBody", "The body is no JSON"),
        (b'{"inputs": [[NaN]]}', JSON, 400, "MalformedBody", "NaN is no number in JSON"),
        (b"[[1.0]]", JSON, 400, "MalformedBody", "must be an object with the key 'inputs' alone, and has list"),
        (b"{}", JSON, 400, "MalformedBody", "and has nothing"),
        (b'{"inputs": 1, "deadline": 1}', JSON, 400, "MalformedBody", "and has 'inputs', 'deadline'"),
        (b'{"inputs":' + b"[" * 90_000 + b"]" * 90_000 + b"}", JSON, 400, "MalformedBody", "nested too deeply"),
        (b'{"inputs":' + b"[" * 700 + b"]" * 700 + b"}", JSON, 422, "WrongDtype", "lists within lists without an end"),
        (b"not an array", NPY, 400, "MalformedBody", r"no \.npy file"),
        (b"", NPY, 400, "MalformedBody", r"no \.npy file"),
        (npy(rows(1))[:-1], NPY, 400, "MalformedBody", r"15 bytes of values, .* shape \[1, 4\] of float32"),
        (claiming(10**13, 4), NPY, 400, "MalformedBody", r"16 bytes of values, .* shape \[10000000000000, 4\]"),
        (npy(np.array([[None]])), NPY, 400, "MalformedBody", "holds Python objects"),
        (b"x=1", {"content-type": "application/x-www-form-urlencoded"}, 415, "UnknownContentType", "-urlencoded'"),
        (b"{}", {}, 415, "UnknownContentType", "content type is 'missing'"),
        (b'{"inputs": {"x": [["a"]]}}', JSON, 422, "WrongDtype", r"takes float32 \(FP32\), and got a list of strings"),
        (b'{"inputs": {"x": [[1], [1, 2]]}}', JSON, 422, "WrongDtype", "lists of unequal lengths"),
        (b'{"inputs": {"x": [[1e39]]}}', JSON, 422, "WrongDtype", "values that it does not hold"),
        (b'{"inputs": {"x": [[1e999]]}}', JSON, 400, "MalformedBody", "1e999 is more than a number here may be"),
        (b'{"inputs": {"x": [1.0]}}', JSON, 422, "WrongShape", "the batch dimension is missing"),
        (b'{"inputs": {"x": []}}', JSON, 422, "WrongShape", r"takes shape \[-1, -1\]"),
        (b'{"inputs": {"picture": [[1.0]]}}', JSON, 422, "UnknownTensor", "no input 'picture'; it has 'x'"),
        (b'{"inputs": {}}', JSON, 422, "MissingInput", "needs input 'x'"),
        (npy(rows(1).astype(np.float64)), NPY, 422, "WrongDtype", r"float32 \(FP32\), and got float64"),
        (npy(rows(1)[0]), NPY, 422, "WrongShape", "the batch dimension is missing"),
        (npy(rows(1)[:0]), NPY, 422, "WrongShape", "the batch is empty"),
        (npy(rows(1, np.nan)), NPY, 422, "InvalidRequest", "'app_net' refused the request: .*'x'.*"),
    ],
)
def test_a_wrong_body_is_refused_with_its_reason(
    app: App, body: bytes, headers: dict[str, str], status: int, kind: str, sentence: str
) -> None:
    refused(app.send("POST", "/models/app_net/predict", body, **headers), status, kind, sentence)


@pytest.mark.parametrize(
    ("query", "headers", "status", "kind", "sentence"),
    [
        ("?outputs=logits", {}, 422, "UnknownTensor", "no output 'logits'; it has 'y', 'seen'"),
        ("?version=9", {}, 404, "ModelNotFound", "not in the version asked for"),
        ("?version=one", {}, 422, "InvalidParameter", "query parameter 'version'"),
        ("", {"x_deadline_ms": "0"}, 422, "InvalidParameter", "header parameter 'x-deadline-ms'"),
        ("", WANT_NPY, 406, "NoSingleOutput", r"answered with 'y', 'seen'; ask for one with \?outputs=NAME"),
    ],
)
def test_a_wrong_parameter_is_refused_with_its_reason(
    app: App, query: str, headers: dict[str, str], status: int, kind: str, sentence: str
) -> None:
    refused(app.ask("app_net", rows(1), query, **headers), status, kind, sentence)


def test_only_what_is_offered_is_there(app: App) -> None:
    known = "no model 'app_net_onnx'; there is 'app_net', 'app_words'"
    refused(app.ask("app_net_onnx", rows(1)), 404, "NotOffered", known)
    refused(app.send("GET", "/models/app_net_onnx"), 404, "NotOffered", known)
    refused(app.send("GET", "/nothing"), 404, "NotFound", "GET /docs")
    refused(app.send("GET", "/models/app_net/predict"), 405, "MethodNotAllowed", "GET /docs")


def test_a_body_may_not_be_longer_than_allowed_however_it_is_sent(app: App) -> None:
    path, most = "/models/app_net/predict", 2**20
    refused(app.send("POST", path, bytes(most + 1), **NPY), 413, "BodyTooLarge", "longer than 1,048,576 bytes")
    pieces = (bytes(2**16) for _ in range(20))  # sent in chunks, of which nobody says how many come
    refused(app.send("POST", path, pieces, **NPY), 413, "BodyTooLarge", "longer than 1,048,576 bytes")
    # Of ten gigabytes the header is enough; who sends it first and waits for leave is told at once.
    connection = HTTPConnection(LOOPBACK, app.port, timeout=20)
    connection.putrequest("POST", path)
    for name, value in (NPY | {"content-length": str(10**10)}).items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    exactly = npy(np.zeros((8, (most - 128) // 32), np.float32))
    assert len(exactly) == most
    assert app.send("POST", f"{path}?outputs=y", exactly, **NPY, **WANT_NPY).status == 200


@spoils
def test_a_late_answer_is_a_gateway_timeout(app: App, net: Net) -> None:
    # The hybrid leaves a twin alone after three late answers without a good one between: here is one of the original.
    net.behave("onnx", error={"5.0": "not this"})
    assert app.ask("app_net", rows(5)).json["served_by"] == "original"
    for twin in ("onnx", "original"):
        net.behave(twin, sleep_s={"9.0": 4.0})
    started = time.monotonic()
    with ThreadPoolExecutor(2) as threads:
        late = list(threads.map(lambda _: app.ask("app_net", rows(9), x_deadline_ms="300"), range(2)))
    assert time.monotonic() - started < 3.5
    for reply in late:
        refused(reply, 504, "DeadlineExceeded", "did not answer within the deadline")


@spoils
def test_a_model_that_fails_is_a_bad_gateway(app: App, net: Net) -> None:
    for twin in ("onnx", "original"):
        net.behave(twin, error={"8.0": "no weights for this"})
    refused(app.ask("app_net", rows(8)), 502, "ServerError", "'app_net' failed on this request; the application's log")
    assert "no weights for this" in app.log.read_text()


def test_a_model_that_is_not_loaded_is_unavailable_and_not_ready(
    triton: Any, net: Net, words: Net, tmp_path: Path
) -> None:
    ghost = Net(triton, "app_ghost", Shape())
    with running(tmp_path, MODELS="app_net,app_ghost,app_nowhere", URL=triton.server.grpc_url) as app:
        refused(app.ask("app_ghost", rows(1)), 503, "ModelNotReady", r"cannot answer now; try again in 1 s\.")
        refused(app.ask("app_nowhere", rows(1)), 404, "ModelNotFound", "'app_nowhere' is not served")
        refused(app.send("GET", "/readyz"), 503, "NotReady", r"'app_ghost' does not answer \(ModelNotReady\)")
        assert app.send("GET", "/healthz").json == {"status": "alive"}
        assert app.ask("app_net", rows(1)).status == 200
    ghost.load().close()


def asked_until(app: App, wanted: Callable[[Reply], bool]) -> Reply:
    """The first such reply, within 20 s."""
    end = time.monotonic() + 20
    while not wanted(reply := app.ask("app_own", rows(1))):
        assert time.monotonic() < end, reply
        time.sleep(0.1)
    return reply


def test_a_server_that_is_gone_is_unavailable_until_it_is_back(tmp_path: Path) -> None:
    with serving_triton(tmp_path) as own:
        net = Net(own, "app_own", Shape()).load()
        with running(tmp_path, MODELS="app_own", URL=own.server.grpc_url, RETRIES="1") as app:
            assert app.send("GET", "/readyz").json == {"ready": ["app_own"]}
            own.server.restart(load=[])  # the same ports, and nothing served
            # Its channel may still be on the way back to the server.
            found = asked_until(app, lambda reply: reply.json["error"] != "ServerUnavailable")
            refused(found, 503, "ModelNotReady", "cannot answer now")
            os.kill(own.server.pid, signal.SIGKILL)
            own.server.wait(20)
            refused(app.ask("app_own", rows(1)), 503, "ServerUnavailable", "cannot answer now")
            refused(app.send("GET", "/readyz"), 503, "NotReady", "ServerUnavailable")
            assert app.send("GET", "/healthz").status == 200
            own.server.restart(load=["app_own", "app_own_onnx", "app_own_original"])
            reply = asked_until(app, lambda reply: reply.status == 200)
            assert reply.json["outputs"]["y"] == right(rows(1)).tolist()
            assert app.send("GET", "/readyz").status == 200
        net.client.close()


def test_sixty_four_callers_at_once_each_get_their_own_answer(app: App) -> None:
    gate = threading.Barrier(64)

    def ask(caller: int) -> bool:
        gate.wait(30)
        for turn in range(4):
            x = rows(*(caller * 10 + turn + n for n in range(1 + caller % 3)))
            reply = app.ask("app_net", x if caller % 2 else x.tolist(), "?outputs=y")
            if reply.status != 200 or reply.json["outputs"]["y"] != right(x).tolist():
                return False
        return True

    with ThreadPoolExecutor(64) as threads:
        assert all(threads.map(ask, range(64)))


def test_the_schema_is_valid_and_tells_of_every_answer(app: App) -> None:
    schema = app.send("GET", "/openapi.json").json
    validate(schema)
    predict = schema["paths"]["/models/{model}/predict"]["post"]
    assert set(predict["responses"]) == {"200", "400", "404", "406", "408", "413", "415", "422", "502", "503", "504"}
    assert set(predict["requestBody"]["content"]) == set(predict["responses"]["200"]["content"])
    for status, response in predict["responses"].items():
        kind = "PredictionShown" if status == "200" else "Problem"
        assert response["content"]["application/json"]["schema"] == {"$ref": f"#/components/schemas/{kind}"}
        assert status == "200" or f"| {status} |" in PAGE
    assert app.send("GET", "/docs").status == 200


def takes_more(app: App) -> bool:
    """Whether it still listens."""
    try:
        app.send("GET", "/healthz")
    except ConnectionRefusedError:
        return False
    except ConnectionError:
        # The application closed just then; the next one tells.
        return True
    return True


@spoils
def test_a_request_in_flight_is_answered_before_the_application_ends(triton: Any, net: Net, tmp_path: Path) -> None:
    for twin in ("onnx", "original"):
        net.behave(twin, sleep_s={"6.0": 4.5})
    with running(tmp_path, MODELS="app_net", URL=triton.server.grpc_url) as app, ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(app.ask, "app_net", rows(6), "?outputs=y") for _ in range(2)]
        until(triton, "app_net", lambda found: found["ml_pending_requests",] >= 2)
        app.process.send_signal(signal.SIGTERM)
        while takes_more(app):
            assert not any(future.done() for future in asked)
            time.sleep(0.05)
        assert not any(future.done() for future in asked)
        for future in asked:
            assert future.result().json["outputs"]["y"] == right(rows(6)).tolist()
        app.process.wait(20)
        assert "Application shutdown complete" in app.log.read_text()


def test_a_body_that_never_ends_does_not_keep_the_application_from_ending(tmp_path: Path) -> None:
    with running(tmp_path, MODELS="m", BODY_S="1") as app:
        connection = HTTPConnection(LOOPBACK, app.port, timeout=20)
        connection.putrequest("POST", "/models/m/predict")
        for name, value in (JSON | {"content-length": "1000"}).items():
            connection.putheader(name, value)
        connection.endheaders(b"{")
        app.process.send_signal(signal.SIGTERM)
        response = connection.getresponse()
        assert (response.status, json.load(response)["error"]) == (408, "BodyTooSlow")
        connection.close()
        app.process.wait(20)
        assert "Application shutdown complete" in app.log.read_text()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "PREDICT_MODELS is not set; set it to the names of the models"),
        ({"MODELS": "m", "PROTOCOL": "https"}, "PREDICT_PROTOCOL is 'https'; set it to grpc or http"),
        ({"MODELS": "m", "DEADLINE_S": "never"}, "PREDICT_DEADLINE_S is 'never'; set it to a number above 0"),
        ({"MODELS": "m", "MOST_MIB": "nan"}, "PREDICT_MOST_MIB is 'nan'"),
        ({"MODELS": "m", "MOST_JSON_MIB": "0"}, "PREDICT_MOST_JSON_MIB is '0'; set it to a number above 0"),
        ({"MODELS": "m", "RETRIES": "-1"}, "PREDICT_RETRIES is '-1'; set it to a whole number from 0 on"),
        ({"MODELS": "m", "DEADLINE": "3"}, "PREDICT_DEADLINE is '3'; set it to nothing: there is no such setting"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(settings: dict[str, str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        Settings.of({f"PREDICT_{name}": value for name, value in settings.items()})


def test_the_application_does_not_start_with_settings_that_cannot_be_used(tmp_path: Path) -> None:
    app = launch(tmp_path, MODELS="m", URL="http://127.0.0.1:8001")
    assert app.process.wait(60) != 0
    assert "url='http://127.0.0.1:8001' cannot be used: expected host:port without a scheme" in app.log.read_text()


def test_every_setting_is_described() -> None:
    source = (ROOT / "client" / "examples" / "fastapi_app" / "settings.py").read_text()
    names = set(re.findall(r'given\.pop\("([A-Z_]+)"', source))
    assert len(names) == 9
    assert {f"PREDICT_{name}" for name in names} == set(re.findall(r"^\| `(PREDICT_[A-Z_]+)`", PAGE, re.MULTILINE))


def test_the_snippets_of_the_how_to_run(triton: Any, tmp_path: Path) -> None:
    name = triton.add(MODEL)
    try:
        with running(tmp_path, MODELS=name, URL=triton.server.grpc_url) as app:
            program = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
            program = program.replace("127.0.0.1:8080", f"127.0.0.1:{app.port}")
            done = subprocess.run(
                [sys.executable, "-W", "error", "-c", program],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.splitlines() == ["onnx 1000", "(10, 1000) onnx", "422 WrongShape"]
    finally:
        triton.drop(name)
