"""Both protocols over TLS: the server's certificate is checked, and the client shows its own where it is asked to."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc
from understudy_client import AsyncHybridClient, HybridClient, ServerUnavailable, UnderstudyClientError

FILES = Path(__file__).parent / "test_client_tls"
SERVER, CALLER = (FILES / "server.key", FILES / "server.pem"), (FILES / "caller.key", FILES / "caller.pem")
OWN = {"private_key": CALLER[0], "certificate_chain": CALLER[1]}


class _Index(service_pb2_grpc.GRPCInferenceServiceServicer):
    def RepositoryIndex(self, request: object, context: object) -> object:  # noqa: N802 - the name in the protocol
        return service_pb2.RepositoryIndexResponse(models=[{"name": "m", "version": "1", "state": "READY"}])


class _IndexHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps([{"name": "m", "version": "1", "state": "READY"}]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the test's output clean."""


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A handshake that fails is what some of these tests are about."""


@pytest.fixture(scope="module")
def grpc_url() -> Iterator[str]:
    key, chain = (file.read_bytes() for file in SERVER)
    credentials = grpc.ssl_server_credentials(
        [(key, chain)], root_certificates=CALLER[1].read_bytes(), require_client_auth=True
    )
    server = grpc.server(ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Index(), server)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture(scope="module")
def http_url() -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SERVER[1], SERVER[0])
    context.load_verify_locations(CALLER[1])
    context.verify_mode = ssl.CERT_REQUIRED
    with _QuietServer(("127.0.0.1", 0), _IndexHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(params=["grpc", "http"])
def address(request: pytest.FixtureRequest) -> tuple[str, Any]:
    return request.getfixturevalue(f"{request.param}_url"), request.param


def _names(address: tuple[str, Any], **settings: Any) -> list[str]:
    with HybridClient(address[0], protocol=address[1], timeout_s=10, retries=0, **settings) as client:
        return [model.name for model in client.models()]


def _async_names(address: tuple[str, Any], **settings: Any) -> list[str]:
    async def names() -> list[str]:
        async with AsyncHybridClient(address[0], protocol=address[1], timeout_s=10, retries=0, **settings) as client:
            return [model.name for model in await client.models()]

    return asyncio.run(names())


@pytest.mark.parametrize("names", [_names, _async_names], ids=["blocking", "asyncio"])
def test_certificates_that_fit_let_a_call_through(address: tuple[str, Any], names: Any) -> None:
    for _ in range(2):
        assert names(address, ssl=True, root_certificates=SERVER[1], **OWN) == ["m"]


@pytest.mark.parametrize("names", [_names, _async_names], ids=["blocking", "asyncio"])
def test_a_server_with_an_unknown_certificate_is_not_trusted(address: tuple[str, Any], names: Any) -> None:
    with pytest.raises(ServerUnavailable, match="TLS"):
        names(address, ssl=True, root_certificates=CALLER[1], **OWN)


@pytest.mark.parametrize("names", [_names, _async_names], ids=["blocking", "asyncio"])
def test_a_server_that_asks_for_a_certificate_gets_none(address: tuple[str, Any], names: Any) -> None:
    with pytest.raises(UnderstudyClientError):
        names(address, ssl=True, root_certificates=SERVER[1])


def test_a_kept_connection_is_used_again_over_tls(http_url: str) -> None:
    settings = {"ssl": True, "root_certificates": SERVER[1], **OWN}
    with HybridClient(http_url, protocol="http", timeout_s=10, **settings) as client:  # type: ignore[arg-type]
        client.models()
        ((_, kept),) = client._transport._connections._idle  # type: ignore[attr-defined]
        client.models()
        ((_, again),) = client._transport._connections._idle  # type: ignore[attr-defined]
        assert again is kept
