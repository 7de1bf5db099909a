"""How a server is reached, before it says anything. No Triton: what listens there."""

import socket
import threading
from collections.abc import Iterator

import pytest

from serving.control import ModelControl
from serving.errors import ServerUnreachable


class Listening:
    """Takes connections, counts them, and answers none."""

    def __init__(self) -> None:
        self.taken = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.taken += 1
            connection.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Listening]:
    listening = Listening()
    yield listening
    listening.close()


@pytest.fixture
def proxy() -> Iterator[Listening]:
    listening = Listening()
    yield listening
    listening.close()


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
def test_a_proxy_of_the_environment_is_not_between_us_and_the_server(
    server: Listening, proxy: Listening, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, f"http://{proxy.address}")
    with ModelControl(server.address, timeout_s=5.0) as control, pytest.raises(ServerUnreachable):
        control.index()
    assert server.taken
    assert not proxy.taken


def test_what_is_said_of_a_server_that_is_not_there_fits_every_command_that_asks_for_one() -> None:
    """The address is --grpc-url of `python -m serving`, and --server of `python -m conversion`."""
    with ModelControl("127.0.0.1:1", timeout_s=5.0) as control, pytest.raises(ServerUnreachable) as caught:
        control.index()
    assert str(caught.value).startswith("no Triton answers at 127.0.0.1:1: ")
    assert str(caught.value).endswith("; start one with `make serve`, or name the right address")
