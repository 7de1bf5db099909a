import pytest
from understudy_client import (
    ConnectionLost,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    ServerError,
    ServerUnavailable,
    UnderstudyClientError,
)
from understudy_client.statuses import grpc_error, http_error


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("StatusCode.UNAVAILABLE", ServerUnavailable),
        ("StatusCode.NOT_FOUND", ModelNotFound),
        ("StatusCode.INVALID_ARGUMENT", InvalidRequest),
        ("StatusCode.DEADLINE_EXCEEDED", DeadlineExceeded),
        ("StatusCode.SOMETHING_NEW", ServerError),
        (None, InvalidRequest),
    ],
)
def test_a_grpc_status_becomes_its_error(status: str | None, kind: type[UnderstudyClientError]) -> None:
    error = grpc_error(status, "here", "words")
    assert type(error) is kind
    assert "here" in str(error)
    assert "words" in str(error)


@pytest.mark.parametrize("status", ["StatusCode.UNKNOWN", "StatusCode.UNAVAILABLE"])
@pytest.mark.parametrize(
    "words",
    [
        "Stream removed (Socket closed)",
        "Stream removed (recvmsg:Connection reset by peer (104))",
        "Stream removed (GOAWAY received; Error code: 0; Debug Text: )",
        "Socket closed",
        "recvmsg:Connection reset by peer",
        "Connection reset by peer",
    ],
)
def test_a_call_that_was_cut_off_is_a_lost_connection(status: str, words: str) -> None:
    assert type(grpc_error(status, "here", words)) is ConnectionLost


def test_what_grpc_does_not_know_is_an_error_of_the_server() -> None:
    assert type(grpc_error("StatusCode.UNKNOWN", "here", "words")) is ServerError


@pytest.mark.parametrize(
    "words",
    [
        "",
        "Method not found!",
        "Method not found: inference.GRPCInferenceService/ModelMetadata",
        "unknown service inference.GRPCInferenceService",
        "Received http2 header with status: 404",
    ],
)
def test_a_server_that_is_no_triton_is_not_the_callers_mistake(words: str) -> None:
    error = grpc_error("StatusCode.UNIMPLEMENTED", "here", words)
    assert type(error) is ServerError
    assert "what answers there is no Triton" in str(error)
    assert words in str(error)


def test_what_triton_does_not_support_is_a_wrong_request() -> None:
    words = "explicit model load / unload is not allowed if polling is enabled"
    assert type(grpc_error("StatusCode.UNIMPLEMENTED", "here", words)) is InvalidRequest


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        ("failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:1: Socket closed", False),
        ("connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused", False),
        ("errors resolving nobody.invalid:1: [field:hostname lookup error:Domain name not found]", False),
        ("Exceeds maximum queue size", True),
        ("upstream connect error or disconnect/reset before headers", True),
    ],
)
def test_only_a_call_without_a_connection_was_never_sent(words: str, sent: bool) -> None:
    error = grpc_error("StatusCode.UNAVAILABLE", "here", words)
    assert isinstance(error, ServerUnavailable)
    assert error.sent == sent


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (502, ServerUnavailable),
        (400, InvalidRequest),
        (404, ModelNotFound),
        (418, InvalidRequest),
        (500, ServerError),
        (503, ServerUnavailable),
        (504, DeadlineExceeded),
        (599, ServerError),
        (302, ServerError),
    ],
)
def test_an_http_status_becomes_its_error(status: int, kind: type[UnderstudyClientError]) -> None:
    error = http_error(status, "here", "")
    assert type(error) is kind
    assert f"HTTP status {status}" in str(error)


DEAD = "Failed to process the request(s) for model instance 'm_0_0', message: Stub process 'm_0_0' is not healthy."


def test_a_model_whose_process_died_is_unavailable_and_a_model_that_fails_is_not() -> None:
    assert type(grpc_error("StatusCode.INTERNAL", "here", DEAD)) is ServerUnavailable
    assert type(http_error(500, "here", DEAD)) is ServerUnavailable
    assert type(grpc_error("StatusCode.INTERNAL", "here", "ValueError: no")) is ServerError
    assert type(grpc_error("StatusCode.INVALID_ARGUMENT", "here", DEAD)) is InvalidRequest
