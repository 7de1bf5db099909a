import pytest
from understudy_client import (
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


@pytest.mark.parametrize(
    ("status", "kind"),
    [
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
