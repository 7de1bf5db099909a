"""Both protocols over TLS: the server's certificate is checked, and the client shows its own where it is asked to."""

import asyncio
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import grpc
import pytest
import trustme
from tritonclient.grpc import service_pb2, service_pb2_grpc
from understudy_client import AsyncHybridClient, HybridClient, InvalidSettings, ServerUnavailable, UnderstudyClientError


@dataclass(frozen=True)
class Files:
    """One side's private key, its certificate, and the certificate of the authority that vouches for it."""

    key: Path
    chain: Path
    authority: Path


def _issue(directory: Path) -> Files:
    files = Files(directory / "key.pem", directory / "chain.pem", directory / "authority.pem")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(files.key)
    issued.cert_chain_pems[0].write_to_path(files.chain)
    authority.cert_pem.write_to_path(files.authority)
    return files


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return _issue(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return _issue(tmp_path_factory.mktemp("caller"))


@pytest.fixture
def own(caller: Files) -> dict[str, Path]:
    """What a client shows of itself."""
    return {"private_key": caller.key, "certificate_chain": caller.chain}


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
def grpc_url(server: Files, caller: Files) -> Iterator[str]:
    credentials = grpc.ssl_server_credentials(
        [(server.key.read_bytes(), server.chain.read_bytes())],
        root_certificates=caller.authority.read_bytes(),
        require_client_auth=True,
    )
    running = grpc.server(ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Index(), running)
    port = running.add_secure_port("127.0.0.1:0", credentials)
    running.start()
    yield f"127.0.0.1:{port}"
    running.stop(None).wait()


@pytest.fixture(scope="module")
def http_url(server: Files, caller: Files) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.chain, server.key)
    context.load_verify_locations(caller.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    with _QuietServer(("127.0.0.1", 0), _IndexHandler) as running:
        running.socket = context.wrap_socket(running.socket, server_side=True)
        thread = Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()
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
def test_certificates_that_fit_let_a_call_through(
    address: tuple[str, Any], names: Any, server: Files, caller: Files, own: dict[str, Path]
) -> None:
    for _ in range(2):
        assert names(address, ssl=True, root_certificates=server.authority, **own) == ["m"]


@pytest.mark.parametrize("names", [_names, _async_names], ids=["blocking", "asyncio"])
def test_who_names_no_roots_trusts_the_systems(
    address: tuple[str, Any], names: Any, server: Files, own: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    assert names(address, ssl=True, **own) == ["m"]


def test_roots_that_grpc_is_told_of_come_before_the_systems(
    grpc_url: str, server: Files, caller: Files, own: dict[str, Path]
) -> None:
    """gRPC reads the variable once in a process."""
    code = (
        "import sys; from understudy_client import HybridClient\n"
        "with HybridClient(sys.argv[1], ssl=True, private_key=sys.argv[2], certificate_chain=sys.argv[3]) as client:\n"
        "    print(client.models()[0].name)"
    )
    told = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(server.authority), "SSL_CERT_FILE": str(caller.authority)}
    arguments = [grpc_url, str(own["private_key"]), str(own["certificate_chain"])]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **told}
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert found.stdout == "m\n", found.stderr


@pytest.mark.parametrize("names", [_names, _async_names], ids=["blocking", "asyncio"])
def test_a_server_with_an_unknown_certificate_is_not_trusted(
    address: tuple[str, Any], names: Any, server: Files, caller: Files, own: dict[str, Path]
) -> None:
    with pytest.raises(ServerUnavailable, match="TLS"):
        names(address, ssl=True, root_certificates=caller.authority, **own)


@pytest.mark.parametrize("names", [_names, _async_names], ids=["blocking", "asyncio"])
def test_a_server_that_asks_for_a_certificate_gets_none(
    address: tuple[str, Any], names: Any, server: Files, caller: Files, own: dict[str, Path]
) -> None:
    with pytest.raises(UnderstudyClientError):
        names(address, ssl=True, root_certificates=server.authority)


@pytest.mark.parametrize("names", [_names, _async_names], ids=["blocking", "asyncio"])
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_file_that_is_there_and_cannot_be_read_is_named(names: Any, protocol: str) -> None:
    """As another user's is; this one nobody can read from its beginning."""
    with pytest.raises(InvalidSettings, match=r"root_certificates='/proc/self/mem' cannot be used: expected .*PEM"):
        names(("127.0.0.1:1", protocol), ssl=True, root_certificates="/proc/self/mem")


def test_a_kept_connection_is_used_again_over_tls(http_url: str, server: Files, own: dict[str, Path]) -> None:
    settings = {"ssl": True, "root_certificates": server.authority, **own}
    with HybridClient(http_url, protocol="http", timeout_s=10, **settings) as client:  # type: ignore[arg-type]
        client.models()
        ((_, kept),) = client._transport._connections._idle  # type: ignore[attr-defined]
        client.models()
        ((_, again),) = client._transport._connections._idle  # type: ignore[attr-defined]
        assert again is kept
