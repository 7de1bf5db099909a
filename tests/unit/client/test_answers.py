"""What callers met, out of a page of metrics."""

import asyncio
import contextlib
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from understudy_client import (
    Answers,
    AsyncHybridClient,
    ConnectionLost,
    DeadlineExceeded,
    FakeModel,
    FakeTransport,
    HybridClient,
    InvalidSettings,
    ServerError,
    ServerUnavailable,
    UnderstudyClientError,
)
from understudy_client.answers import answers_of
from understudy_client.calls import Call

# As Triton 24.10 writes them: two processes of one hybrid, another one, and a metric of Triton's own.
PAGE = """\
# HELP ml_inference_total Requests answered
# TYPE ml_inference_total counter
ml_inference_total{backend="onnx",model="m",process="17",status="ok"} 90
ml_inference_total{backend="onnx",model="m",process="18",status="ok"} 7
ml_inference_total{backend="both",model="m",process="17",status="ok"} 1
ml_inference_total{backend="original",model="m",process="17",status="ok"} 1
ml_inference_total{backend="none",model="m",process="17",status="unavailable"} 1
ml_inference_total{backend="none",model="m",process="17",status="invalid"} 30
ml_inference_total{backend="onnx",model="other",process="19",status="ok"} 1000
# TYPE ml_backend_selected counter
ml_backend_selected{backend="onnx",model="m",process="17",reason="preferred"} 91
ml_backend_selected{backend="original",model="m",process="17",reason="late"} 1
ml_backend_selected{backend="original",model="m",process="18",reason="late"} 1
# TYPE ml_inference_duration_seconds_sum counter
ml_inference_duration_seconds_sum{backend="onnx",model="m",process="17"} 0.5
ml_inference_duration_seconds_count{backend="onnx",model="m",process="17"} 50
ml_inference_duration_seconds_bucket{backend="onnx",le="+Inf",model="m",process="17"} 50
ml_inference_duration_seconds_sum{backend="original",model="m",process="17"} 0
ml_inference_duration_seconds_count{backend="original",model="m",process="17"} 0
# TYPE nv_cpu_utilization gauge
nv_cpu_utilization 0.5
"""


@pytest.fixture
def served() -> Iterator[tuple[str, dict[str, str]]]:
    """Where a page is served, and the page, which a test may change."""
    page = {"text": PAGE}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page["text"].encode()
            self.send_response(200 if self.path == "/metrics" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", page
    server.shutdown()
    server.server_close()


def test_all_processes_of_a_hybrid_count_and_those_of_others_do_not() -> None:
    found = answers_of(PAGE, "m")
    assert found.answered == {"onnx": 97, "both": 1, "original": 1}
    assert found.refused == {"unavailable": 1, "invalid": 30}
    assert found.fallbacks == {"late": 2}
    assert found.call_ms == {"onnx": pytest.approx(10.0)}


def test_a_callers_own_mistake_is_no_failure() -> None:
    assert answers_of(PAGE, "m").success_rate == 0.99
    assert Answers(refused={"invalid": 3}).success_rate is None


def test_it_is_told_in_three_lines() -> None:
    assert answers_of(PAGE, "m").lines() == [
        "callers: answered by both 1, onnx 97, original 1; refused: invalid 30, unavailable 1; success 99.00%",
        "fallbacks, by what was wrong: late 2",
        "mean time of a call: onnx 10.000 ms",
    ]
    assert answers_of(PAGE, "nobody").lines() == ["callers: none yet, or the hybrid is not loaded"]


def test_statistics_of_both_clients_hold_them(fake: FakeTransport, served: tuple[str, dict[str, str]]) -> None:
    url, _ = served
    with HybridClient(model="m", transport=fake, metrics_url=url) as client:
        found = client.statistics()
        out = io.StringIO()
        client.print_statistics(file=out)
    assert found.answers == answers_of(PAGE, "m")
    assert found.as_dict()["answers"]["fallbacks"] == {"late": 2}
    assert out.getvalue().endswith("mean time of a call: onnx 10.000 ms\n")

    async def asked() -> object:
        async with AsyncHybridClient(model="m", transport=fake, metrics_url=url) as client:
            return (await client.statistics()).answers

    assert asyncio.run(asked()) == found.answers


def test_without_an_address_nothing_is_asked(fake: FakeTransport) -> None:
    with HybridClient(model="m", transport=fake) as client:
        assert client.statistics().answers is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:8002", "127.0.0.1:8002/metrics", "127.0.0.1:70000", "", 8002])
def test_an_address_that_cannot_be_one_is_refused(fake: FakeTransport, url: str) -> None:
    with pytest.raises(InvalidSettings, match=r"metrics_url=.* host:port without a scheme, such as 127\.0\.0\.1:8002"):
        HybridClient(transport=fake, metrics_url=url)


def test_nobody_there_and_another_page_are_told_apart(fake: FakeTransport, served: tuple[str, dict[str, str]]) -> None:
    url, page = served
    page["text"] = "<html>{"
    with (
        HybridClient(model="m", transport=fake, metrics_url=url) as client,
        pytest.raises(ServerError, match=f"reading the metrics at {url} .*there are no metrics of a hybrid"),
    ):
        client.statistics()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    with (
        HybridClient(model="m", transport=fake, metrics_url=f"127.0.0.1:{free}") as client,
        pytest.raises(ServerUnavailable, match="refused"),
    ):
        client.statistics(deadline_s=5)


TRITONS_GRPC = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00"
OF_ANOTHER = b'ml_inference_total{model="m"} 3\n'
BOUNDLESS = b'ml_inference_total{model="m",status="ok",backend="onnx"} +Inf\n'


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        (TRITONS_GRPC, ConnectionLost),
        (b"", ConnectionLost),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\nabc", ConnectionLost),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x01", ServerError),
        (b"HTTP/1.1 200 OK\r\n\r\n" + OF_ANOTHER, ServerError),
        (b"HTTP/1.1 200 OK\r\n\r\n" + BOUNDLESS, ServerError),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", ServerError),
        (b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n", ServerUnavailable),
    ],
    ids=["gRPC", "silence", "half", "binary", "metrics of another", "no number", "404", "503"],
)
def test_whatever_is_there_the_error_is_one_of_the_clients(
    fake: FakeTransport, page: bytes, kind: type[UnderstudyClientError]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            sock, _ = listening.accept()
            with sock:
                sock.recv(1000)
                sock.sendall(page)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"127.0.0.1:{listening.getsockname()[1]}"
        with (
            HybridClient(model="m", transport=fake, metrics_url=url) as client,
            pytest.raises(UnderstudyClientError, match=f"^reading the metrics at {url} ") as caught,
        ):
            client.statistics(deadline_s=10)
        thread.join()
    assert type(caught.value) is kind
    assert str(caught.value).isprintable(), "whatever came must not reach a terminal as it is"


def test_the_metrics_have_what_the_server_left_of_the_deadline(
    doubling: Callable[..., FakeModel], served: tuple[str, dict[str, str]]
) -> None:
    class Slow(FakeTransport):
        def send(self, call: Call[Any], timeout_s: float) -> Any:
            time.sleep(0.3)
            return super().send(call, timeout_s)

    url, _ = served
    with (
        HybridClient(model="m", transport=Slow(doubling("m", served_by="onnx")), metrics_url=url) as client,
        pytest.raises(DeadlineExceeded, match=rf"^reading the metrics at {url} .*its deadline of 0\.2 s"),
    ):
        client.statistics(deadline_s=0.2)


@pytest.mark.parametrize("size", [70_000, 100], ids=["large", "small"])
def test_metrics_that_drip_end_at_the_deadline(fake: FakeTransport, size: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            sock, _ = listening.accept()
            with sock, contextlib.suppress(OSError):
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
                for _ in range(100):
                    sock.sendall(b"#" * size)
                    time.sleep(0.05)

        thread = threading.Thread(target=drip)
        thread.start()
        url = f"127.0.0.1:{listening.getsockname()[1]}"
        started = time.monotonic()
        with HybridClient(model="m", transport=fake, metrics_url=url) as client, pytest.raises(DeadlineExceeded):
            client.statistics(deadline_s=0.5)
        assert time.monotonic() - started < 3
        thread.join()


def test_who_does_not_answer_is_late_by_the_clients_own_limit(fake: FakeTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"127.0.0.1:{silent.getsockname()[1]}"
        with (
            HybridClient(model="m", transport=fake, metrics_url=url, timeout_s=0.2) as client,
            pytest.raises(DeadlineExceeded, match=r"within its deadline of 0\.2 s"),
        ):
            client.statistics()
