"""What asks a running server, against one that answers whatever it is asked."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from conversion.arrangements.callers import callers


class Server(grpc.GenericRpcHandler):
    """Answers with what it got."""

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(lambda got, _: got)


@pytest.fixture
def address():
    server = grpc.server(ThreadPoolExecutor(4), handlers=[Server()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_callers_of_this_machine_pass_by_a_proxy_of_the_environment(address, monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy", "grpc_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with callers(address, 2, {"x": np.ones((1, 2), np.float32)}) as asking:
        window = asking.ask("net", 2, seconds=0.0, least=3)
    assert len(window.ms) == 2 * 3
