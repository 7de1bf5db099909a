import json

import numpy as np
import pytest
import tritonclient.http as wire
from understudy_client import Infer, InvalidAnswer, ModelNotFound, ServerUnavailable, Tensor
from understudy_client.calls import Call, Load, ReadConfig, ReadIndex, ReadMetadata, ReadStatistics, Unload
from understudy_client.http_messages import Response, http_answer, http_request


@pytest.mark.parametrize(
    ("call", "method", "path"),
    [
        (ReadMetadata("m"), "GET", "/v2/models/m"),
        (ReadMetadata("m", "2"), "GET", "/v2/models/m/versions/2"),
        (ReadConfig("a b/c"), "GET", "/v2/models/a%20b%2Fc/config"),
        (ReadStatistics(), "GET", "/v2/models/stats"),
        (ReadIndex(), "POST", "/v2/repository/index"),
        (Load("m"), "POST", "/v2/repository/models/m/load"),
        (Unload("m"), "POST", "/v2/repository/models/m/unload"),
    ],
)
def test_a_call_has_its_method_and_path(call: Call[object], method: str, path: str) -> None:
    request = http_request(call, wire)
    assert (request.method, request.path) == (method, path)


def test_tensors_travel_in_binary_after_a_header_of_json() -> None:
    values = np.array([[1.5, -2]], np.float32)
    call = Infer("m", "3", inputs=(Tensor("x", "FP32", values),), request_id="r", parameters={"deadline_ms": 7})
    request = http_request(call, wire)
    assert request.path == "/v2/models/m/versions/3/infer"
    length = int(request.headers["inference-header-content-length"])
    header = json.loads(request.body[:length])
    assert header["id"] == "r"
    assert header["parameters"] == {"deadline_ms": 7, "binary_data_output": True}
    assert request.body[length:] == values.tobytes()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "queue full"}', "queue full"),
        (b"<html>\n bad gateway </html>", "HTTP status 503 (<html> bad gateway </html>)"),
        (b"", "HTTP status 503"),
        (b"[1]", "HTTP status 503 ([1])"),
    ],
)
def test_an_error_keeps_the_servers_words(body: bytes, words: str) -> None:
    with pytest.raises(ServerUnavailable) as caught:
        http_answer(ReadIndex(), Response(503, {}, body), wire, "here")
    assert caught.value.detail == words


def test_a_status_becomes_its_error() -> None:
    with pytest.raises(ModelNotFound):
        http_answer(ReadMetadata("m"), Response(404, {}, b'{"error": "no"}'), wire, "here")


@pytest.mark.parametrize("call", [ReadIndex(), Infer("m")])
def test_what_is_no_json_is_an_invalid_answer(call: Call[object]) -> None:
    with pytest.raises(InvalidAnswer):
        http_answer(call, Response(200, {}, b"<html>"), wire, "here")


def test_an_empty_answer_is_nothing() -> None:
    http_answer(Load("m"), Response(200, {}, b""), wire, "here")
