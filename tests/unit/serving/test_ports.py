"""Ports: free ones, taken ones, and who holds them."""

import errno
import os
import socket

import pytest

from serving.errors import PortNotOpened, PortTaken, UsageError
from serving.ports import LOOPBACK, choose, holder


@pytest.fixture
def listening():
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        yield server.getsockname()[1]


def test_free_ports_are_three_different_ones() -> None:
    chosen = choose({"http": None, "grpc": None, "metrics": None})
    assert list(chosen) == ["http", "grpc", "metrics"]
    assert len(set(chosen.values())) == 3


def test_a_given_port_is_kept_and_free_again() -> None:
    port = choose({"http": None})["http"]
    assert choose({"http": port}) == {"http": port}
    assert choose({"http": port}) == {"http": port}


def test_a_taken_port_names_service_holder_and_remedy(listening: int) -> None:
    with pytest.raises(PortTaken, match=rf"port {listening} \(grpc\) is taken by process {os.getpid()}.*--grpc-port"):
        choose({"http": None, "grpc": listening})


def test_a_port_that_somebody_took_on_all_addresses_is_taken() -> None:
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))
        server.listen()
        with pytest.raises(PortTaken):
            choose({"http": server.getsockname()[1]})


@pytest.mark.parametrize(
    ("number", "port", "said"),
    [
        (
            errno.EACCES,
            80,
            "port 80 (http) cannot be opened on loopback (Permission denied); ports below 1024 are for root alone, as "
            "a rule: choose another with --http-port",
        ),
        (
            errno.EADDRNOTAVAIL,
            None,
            "a free port (http) cannot be opened on loopback (Cannot assign requested address); bring the loopback "
            "interface up (ip link set lo up)",
        ),
        (
            errno.ENOBUFS,
            80,
            "port 80 (http) cannot be opened on loopback (No buffer space available); choose another with --http-port",
        ),
    ],
)
def test_a_port_that_the_system_does_not_give_is_not_called_taken(
    monkeypatch: pytest.MonkeyPatch, number: int, port: int | None, said: str
) -> None:
    class Refusing(socket.socket):
        def bind(self, _: object) -> None:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", Refusing)
    with pytest.raises(PortNotOpened) as raised:
        choose({"http": port})
    assert str(raised.value) == said


def test_nobody_holds_a_free_port() -> None:
    assert holder(choose({"http": None})["http"]) is None


@pytest.mark.parametrize("port", [-1, 65536, 1 << 20])
def test_a_number_that_is_no_port_is_usage(port: int) -> None:
    with pytest.raises(UsageError, match="from 1 to 65535"):
        choose({"http": port})


def test_one_port_for_two_services_is_usage() -> None:
    with pytest.raises(UsageError, match="a port of its own"):
        choose({"http": 9000, "grpc": 9000})
