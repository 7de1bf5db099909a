"""Every status of gRPC and HTTP, sent by a real server through tritonclient, arrives as the error of its table."""

import asyncio
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2_grpc
from understudy_client import AsyncHybridClient, HybridClient, ServerUnavailable, UnderstudyClientError
from understudy_client.statuses import GRPC_ERRORS, HTTP_ERRORS

HTTP_STATUSES = [*HTTP_ERRORS, 418, 505]


class _Refusing(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers every request for the index with the status that its "status" header names."""

    def RepositoryIndex(self, request: object, context: Any) -> None:  # noqa: N802 - the name in the protocol
        name = dict(context.invocation_metadata())["status"]
        context.abort(grpc.StatusCode[name], "told to fail")


class _RefusingHandler(BaseHTTPRequestHandler):
    """The same for HTTP."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"error": "told to fail"}).encode()
        self.send_response(int(self.headers["status"]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def grpc_url() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Refusing(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture(scope="module")
def http_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _RefusingHandler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _error(url: str, protocol: Any, status: str) -> UnderstudyClientError:
    with HybridClient(url, protocol=protocol, headers={"status": status}, retries=0) as client:
        with pytest.raises(UnderstudyClientError) as caught:
            client.models()
        return caught.value


async def _async_error(url: str, protocol: Any, status: str) -> UnderstudyClientError:
    async with AsyncHybridClient(url, protocol=protocol, headers={"status": status}, retries=0) as client:
        with pytest.raises(UnderstudyClientError) as caught:
            await client.models()
        return caught.value


def test_every_grpc_status_is_in_the_table() -> None:
    assert set(GRPC_ERRORS) == {code.name for code in grpc.StatusCode}


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_grpc_status_arrives_as_its_error(grpc_url: str, code: grpc.StatusCode) -> None:
    for error in (
        _error(grpc_url, "grpc", code.name),
        asyncio.run(_async_error(grpc_url, "grpc", code.name)),
    ):
        assert type(error) is GRPC_ERRORS[code.name]
        assert "told to fail" in str(error)
        assert f"at {grpc_url} (grpc)" in str(error)


@pytest.mark.parametrize("status", HTTP_STATUSES)
def test_an_http_status_arrives_as_its_error(http_url: str, status: int) -> None:
    blocking = _error(http_url, "http", str(status))
    asynchronous = asyncio.run(_async_error(http_url, "http", str(status)))
    assert type(blocking) is type(asynchronous)
    assert type(blocking) is HTTP_ERRORS.get(status, type(blocking))
    for error in (blocking, asynchronous):
        assert "told to fail" in str(error)
        assert f"at {http_url} (http)" in str(error)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_port_where_nobody_listens_is_unavailable(protocol: Any, free_port: int) -> None:
    error = _error(f"127.0.0.1:{free_port}", protocol, "x")
    assert type(error) is ServerUnavailable
    assert type(asyncio.run(_async_error(f"127.0.0.1:{free_port}", protocol, "x"))) is ServerUnavailable


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
