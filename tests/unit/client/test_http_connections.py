"""The pool of kept connections, against a server that tells which of them a request came on."""

import itertools
import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from understudy_client.http_connections import Connections
from understudy_client.http_messages import Request
from understudy_client.settings import connection


class _Numbering(socketserver.StreamRequestHandler):
    """Answers each request on a connection with the number of that connection."""

    numbers = itertools.count()

    def handle(self) -> None:
        number = str(next(self.numbers)).encode()
        while self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(number), number))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@pytest.fixture
def kept() -> Iterator[Connections]:
    with _Server(("127.0.0.1", 0), _Numbering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        connections = Connections(connection(f"127.0.0.1:{server.server_address[1]}", "http"))
        try:
            yield connections
        finally:
            connections.close()
            server.shutdown()
            thread.join()


def _number(connections: Connections) -> int:
    return int(connections.exchange(Request("GET", "/"), 10.0, "here").body)


def test_a_forked_process_asks_on_connections_of_its_own(
    kept: Connections, in_child: Callable[[Callable[[], Any]], Any]
) -> None:
    def ask() -> list[int]:
        return [_number(kept), _number(kept)]

    parent = _number(kept)
    first, again = in_child(ask)
    assert first == again != parent
    # Another thread may hold it at the moment of the fork.
    with kept._lock:
        second, again = in_child(ask)
    assert second == again not in (parent, first)
    assert _number(kept) == parent
