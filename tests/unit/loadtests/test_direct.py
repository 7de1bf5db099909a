import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
import pytest
from tritonclient.grpc import service_pb2

from loadtests import direct
from loadtests.closed_loop import Connections
from loadtests.load.counters import read_counters

LIVE = "/inference.GRPCInferenceService/ServerLive"


class Server(grpc.GenericRpcHandler):
    """Is live, and answers whatever else it is asked with what it got."""

    def service(self, details):
        live = service_pb2.ServerLiveResponse(live=True).SerializeToString()
        return grpc.unary_unary_rpc_method_handler(lambda got, _: live if details.method == LIVE else got)


@pytest.fixture(autouse=True)
def _proxy(monkeypatch):
    """The way out of this machine is a proxy, which reaches no loopback; nobody said for whom it is not."""
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy", "grpc_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")


@pytest.fixture
def address():
    server = grpc.server(ThreadPoolExecutor(4), handlers=[Server()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_a_client_of_the_server_passes_the_proxy_by(address):
    with direct.client(address) as client:
        assert client.is_server_live(client_timeout=5)


def test_who_loads_it_passes_the_proxy_by(address):
    with Connections(address, timeout_s=5.0) as connections:
        assert connections.ask(b"asked") == b"asked"


def test_pages_are_read_past_the_proxy():
    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'nv_inference_count{model="m",version="1"} 40\n')

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert read_counters(f"127.0.0.1:{server.server_port}")["m"]["count"] == 40
        finally:
            server.shutdown()
            thread.join()
