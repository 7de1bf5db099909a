"""gRPC connections that break under a call, between a real server and the client: what is sent again, and what not."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc
from understudy_client import AsyncHybridClient, ConnectionLost, HybridClient


class Proxy:
    """Hands on what it gets to a port, until it cuts all its connections."""

    def __init__(self, port: int) -> None:
        self._port, self._opened = port, ExitStack()
        self._listening = self._opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.url = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._callers: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def cut(self) -> None:
        """Close every connection that there is; the next one is handed on again."""
        callers, self._callers = self._callers, []
        for sock in callers:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self.cut()
        self._opened.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self._opened.enter_context(self._listening.accept()[0])
                beyond = self._opened.enter_context(socket.create_connection(("127.0.0.1", self._port)))
                self._callers.append(near)
                for pair in ((near, beyond), (beyond, near)):
                    threading.Thread(target=self._forward, args=pair, daemon=True).start()

    @staticmethod
    def _forward(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while block := source.recv(65536):
                target.sendall(block)
            target.shutdown(socket.SHUT_WR)


class Cutting(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Counts the calls; while it has cuts left, the connection breaks before a load, an unload or the index answers."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.cuts = {"load": 9, "unload": 9, "index": 0}
        self.proxy: Proxy | None = None

    def _come(self, name: str) -> None:
        self.calls.append(name)
        if self.cuts[name]:
            self.cuts[name] -= 1
            assert self.proxy is not None
            self.proxy.cut()
            time.sleep(0.2)

    def RepositoryModelLoad(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name in the protocol
        self._come("load")
        return service_pb2.RepositoryModelLoadResponse()

    def RepositoryModelUnload(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._come("unload")
        return service_pb2.RepositoryModelUnloadResponse()

    def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._come("index")
        return service_pb2.RepositoryIndexResponse(models=[{"name": "net", "version": "1", "state": "READY"}])


@pytest.fixture
def cutting() -> Iterator[tuple[str, Cutting]]:
    servicer = Cutting()
    server = grpc.server(ThreadPoolExecutor(8))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    servicer.proxy = Proxy(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    yield servicer.proxy.url, servicer
    servicer.proxy.close()
    server.stop(None).wait()


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_what_changes_the_server_is_sent_once(cutting: tuple[str, Cutting], verb: str) -> None:
    url, servicer = cutting
    with HybridClient(url) as client, pytest.raises(ConnectionLost, match=f"^{verb}ing 'net' at {url}"):
        getattr(client, verb)("net", deadline_s=20)
    assert servicer.calls.count(verb) == 1


@pytest.mark.parametrize("verb", ["load", "unload"])
async def test_the_asyncio_client_sends_it_once_too(cutting: tuple[str, Cutting], verb: str) -> None:
    url, servicer = cutting
    async with AsyncHybridClient(url) as client:
        with pytest.raises(ConnectionLost, match=f"^{verb}ing 'net' at {url}"):
            await getattr(client, verb)("net", deadline_s=20)
    assert servicer.calls.count(verb) == 1


def test_what_only_asks_is_sent_again(cutting: tuple[str, Cutting]) -> None:
    url, servicer = cutting
    servicer.cuts["index"] = 2
    with HybridClient(url, timeout_s=20) as client:
        assert [model.name for model in client.models()] == ["net"]
    assert servicer.calls == ["index"] * 3


def test_a_load_waits_for_a_server_that_is_not_there_yet() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    servicer = Cutting()
    servicer.cuts["load"] = 0
    server = grpc.server(ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)

    def start() -> None:
        server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()

    later = threading.Timer(0.3, start)
    later.start()
    with HybridClient(f"127.0.0.1:{port}", retries=8) as client:
        client.load("net", deadline_s=20)
    later.join()
    server.stop(None).wait()
    assert servicer.calls == ["load"]
