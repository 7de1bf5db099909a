"""A gRPC server that is far away or busy takes its time for the first bytes of a connection: it is waited for."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress

import grpc
import pytest
from tritonclient.grpc import service_pb2
from understudy_client import HybridClient

from serving import ModelControl

DELAY_S = 0.4


class Index(grpc.GenericRpcHandler):
    """Answers every call with an index of one model."""

    def service(self, handler_call_details):
        told = service_pb2.RepositoryIndexResponse(models=[{"name": "m", "version": "1", "state": "READY"}])
        return grpc.unary_unary_rpc_method_handler(lambda *_: told.SerializeToString())


@pytest.fixture
def far():
    """The address of a server whose every connection begins with a pause."""
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Index()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    with ExitStack() as opened:
        listening = opened.enter_context(socket.create_server(("127.0.0.1", 0)))

        def forward(source, target):
            with suppress(OSError):
                while block := source.recv(65536):
                    target.sendall(block)
                target.shutdown(socket.SHUT_WR)

        def accept():
            with suppress(OSError):
                while True:
                    near = opened.enter_context(listening.accept()[0])
                    time.sleep(DELAY_S)
                    beyond = opened.enter_context(socket.create_connection(("127.0.0.1", port)))
                    for pair in ((near, beyond), (beyond, near)):
                        threading.Thread(target=forward, args=pair, daemon=True).start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join()
    server.stop(None)


def test_by_the_client(far):
    with HybridClient(far, retries=0) as client:
        assert [model.name for model in client.models()] == ["m"]


def test_by_the_control(far):
    with closing(ModelControl(far)) as control:
        assert [one.name for one in control.index()] == ["m"]
