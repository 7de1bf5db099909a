import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from loadtests.closed_loop import Connections
from loadtests.wire import INFER


class Server(grpc.GenericRpcHandler):
    """Answers with what it got, twice; counts how many calls it holds at once. `b"bad"` is refused."""

    def __init__(self):
        self.lock = threading.Lock()
        self.now = self.most = self.calls = 0

    def service(self, details):
        assert details.method == INFER
        return grpc.unary_unary_rpc_method_handler(self.answer)

    def answer(self, request, context):
        with self.lock:
            self.calls += 1
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.005)
        with self.lock:
            self.now -= 1
        if request == b"bad":
            context.abort(grpc.StatusCode.UNAVAILABLE, "no twin could answer")
        return request * 2


@pytest.fixture
def served():
    handler = Server()
    server = grpc.server(ThreadPoolExecutor(16), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with Connections(f"127.0.0.1:{port}", timeout_s=5.0) as connections:
        yield handler, connections
    server.stop(None).wait()


def test_each_client_has_one_request_under_way(served):
    handler, connections = served
    run = connections.run(b"x", clients=4, seconds=0.3, keep_every=10)
    assert handler.most <= 4
    assert len(run.latencies) == handler.calls >= 2 * 4
    assert min(run.latencies) >= 0.005
    assert run.throughput == pytest.approx(handler.calls / run.seconds)
    assert not run.errors


def test_a_share_of_the_answers_is_kept_the_first_one_included(served):
    _, connections = served
    run = connections.run(b"ab", clients=2, seconds=0.1, keep_every=1000)
    assert run.kept == [b"abab"]
    all_kept = connections.run(b"ab", clients=2, seconds=0.1, keep_every=1)
    assert len(all_kept.kept) == len(all_kept.latencies)


def test_errors_are_counted_with_their_status_and_text(served):
    _, connections = served
    run = connections.run(b"bad", clients=2, seconds=0.1, keep_every=1)
    assert not run.latencies
    assert set(run.errors) == {"UNAVAILABLE: no twin could answer"}


def test_one_request_by_itself(served):
    _, connections = served
    assert connections.ask(b"z") == b"zz"
    with pytest.raises(grpc.RpcError):
        connections.ask(b"bad")
