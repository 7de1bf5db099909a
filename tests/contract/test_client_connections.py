"""The HTTP transports against servers that misbehave, over real sockets."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from understudy_client import (
    AsyncHybridClient,
    ClientClosed,
    ConnectionLost,
    DeadlineExceeded,
    HybridClient,
    InvalidAnswer,
    ServerUnavailable,
    UnderstudyClientError,
    http_connections,
)

Talk = Callable[[socket.socket], None]
INDEX = json.dumps([{"name": "m", "version": "1", "state": "READY"}]).encode()


def _request(sock: socket.socket) -> bytes:
    """Read one request whole; b"" where the caller has closed the connection."""
    text = b""
    while b"\r\n\r\n" not in text:
        block = sock.recv(65536)
        if not block:
            return b""
        text += block
    head, _, body = text.partition(b"\r\n\r\n")
    sizes = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    while sizes and len(body) < sizes[0]:
        body += sock.recv(65536)
    return head


def _answer(body: bytes = INDEX, *, length: int | None = None, extra: str = "") -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n{extra}\r\n".encode() + body


@contextmanager
def _server(*talks: Talk) -> Iterator[tuple[str, list[int]]]:
    """Give each connection the next of `talks`, the last one again and again; yield the url and who came."""
    came: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    sock, _ = listening.accept()
                except OSError:
                    return
                came.append(len(came))
                with sock:
                    sock.settimeout(5)
                    try:
                        talks[min(came[-1], len(talks) - 1)](sock)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}", came
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=10)


def _politely(sock: socket.socket) -> None:
    while _request(sock):
        sock.sendall(_answer())


def _once(sock: socket.socket) -> None:
    _request(sock)
    sock.sendall(_answer())


def _silently(sock: socket.socket) -> None:
    _request(sock)
    sock.recv(1)


def _drop(sock: socket.socket) -> None:
    _request(sock)


def _break_off(sock: socket.socket) -> None:
    _request(sock)
    sock.sendall(_answer(INDEX, length=len(INDEX) + 10))


def _babble(sock: socket.socket) -> None:
    _request(sock)
    sock.sendall(b"220 mail.example ready\r\n")


def _drip(head: bytes, piece: bytes) -> Talk:
    """Answer with a head, and with a piece again and again: with large ones, or with less than is read at once."""

    def drip(sock: socket.socket) -> None:
        _request(sock)
        sock.sendall(head)
        for _ in range(100):
            sock.sendall(piece)
            time.sleep(0.05)

    return drip


_LONG = _answer(b"", length=10_000_000)
_DRIPS = {
    "large pieces": _drip(_LONG, b" " * 70_000),
    "small pieces": _drip(_LONG, b" " * 100),
    "headers": _drip(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
    "one line": _drip(b"HTTP/1.1 200 OK\r\nx: ", b"y"),
    "chunks": _drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "until closed": _drip(b"HTTP/1.1 200 OK\r\n\r\n", b" "),
}


def _ask(url: str, **settings: Any) -> list[str]:
    with HybridClient(url, protocol="http", **settings) as client:
        return [model.name for model in client.models()]


def _ask_async(url: str, **settings: Any) -> list[str]:
    async def ask() -> list[str]:
        async with AsyncHybridClient(url, protocol="http", **settings) as client:
            return [model.name for model in await client.models()]

    return asyncio.run(ask())


asking = pytest.mark.parametrize("ask", [_ask, _ask_async], ids=["blocking", "asyncio"])


@asking
@pytest.mark.parametrize(
    ("talk", "error"),
    [
        (_silently, DeadlineExceeded),
        *((drip, DeadlineExceeded) for drip in _DRIPS.values()),
        (_drop, ConnectionLost),
        (_break_off, ConnectionLost),
    ],
    ids=["silence", *_DRIPS, "dropped", "broken off"],
)
def test_a_server_that_misbehaves_ends_in_time_with_its_error(
    ask: Callable[..., list[str]], talk: Talk, error: type[UnderstudyClientError]
) -> None:
    with _server(talk) as (url, came):
        started = time.monotonic()
        with pytest.raises(error):
            ask(url, timeout_s=1.5 if error is DeadlineExceeded else 30)
        # The server itself gives up after 5 s.
        assert time.monotonic() - started < (4.5 if error is DeadlineExceeded else 15)
    # Whoever says nothing may be at work on it; what was lost is sent again.
    assert len(came) == (4 if error is ConnectionLost else 1)


def _load(url: str) -> None:
    with HybridClient(url, protocol="http") as client:
        client.load("m", deadline_s=30)


def _load_async(url: str) -> None:
    async def load() -> None:
        async with AsyncHybridClient(url, protocol="http") as client:
            await client.load("m", deadline_s=30)

    asyncio.run(load())


@pytest.mark.parametrize("load", [_load, _load_async], ids=["blocking", "asyncio"])
@pytest.mark.parametrize(("status", "kind"), [(None, ConnectionLost), (502, ServerUnavailable)])
def test_a_load_that_a_server_may_have_begun_is_not_sent_again(
    load: Callable[[str], None], status: int | None, kind: type[UnderstudyClientError]
) -> None:
    """Whether the connection breaks or a proxy says so of its own: it may have loaded another version by then."""

    def end(sock: socket.socket) -> None:
        _request(sock)
        if status is not None:
            sock.sendall(f"HTTP/1.1 {status} Bad Gateway\r\nContent-Length: 0\r\n\r\n".encode())

    with _server(end) as (url, came), pytest.raises(kind) as caught:
        load(url)
    assert type(caught.value) is kind
    assert len(came) == 1


@asking
def test_what_is_no_http_is_a_lost_connection(ask: Callable[..., list[str]]) -> None:
    with _server(_babble) as (url, _), pytest.raises(ConnectionLost):
        ask(url, timeout_s=30)


@asking
def test_a_page_of_another_server_is_an_invalid_answer(ask: Callable[..., list[str]]) -> None:
    def page(sock: socket.socket) -> None:
        _request(sock)
        sock.sendall(_answer(b"<html>welcome</html>"))

    with _server(page) as (url, _), pytest.raises(InvalidAnswer, match="does not read as Triton's"):
        ask(url, timeout_s=30)


@asking
def test_a_chunked_answer_and_one_that_ends_with_its_connection_are_read(ask: Callable[..., list[str]]) -> None:
    def chunked(sock: socket.socket) -> None:
        _request(sock)
        chunk = f"{len(INDEX):x}\r\n".encode() + INDEX + b"\r\n0\r\n\r\n"
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)

    def until_closed(sock: socket.socket) -> None:
        _request(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + INDEX)

    for talk in (chunked, until_closed):
        with _server(talk) as (url, _):
            assert ask(url, timeout_s=30) == ["m"]


def test_a_connection_is_kept_and_used_again() -> None:
    with _server(_politely) as (url, came), HybridClient(url, protocol="http", timeout_s=30) as client:
        for _ in range(5):
            client.models()
        assert len(came) == 1


def test_a_kept_connection_that_the_server_closed_is_replaced() -> None:
    with _server(_once) as (url, came), HybridClient(url, protocol="http", timeout_s=30) as client:
        for _ in range(3):
            client.models()
            time.sleep(0.05)
        assert len(came) == 3


def test_a_connection_that_was_idle_for_long_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with _server(_politely) as (url, came), HybridClient(url, protocol="http", timeout_s=30) as client:
        client.models()
        monkeypatch.setattr(http_connections, "IDLE_S", 0.0)
        client.models()
        assert len(came) == 2


def test_a_server_that_comes_back_is_found_by_the_retries() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    later = threading.Timer(0.15, _serve_once, [port])
    later.start()
    try:
        assert _ask(f"127.0.0.1:{port}", timeout_s=5, retries=5) == ["m"]
    finally:
        later.join()


def _serve_once(port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as listening:
        sock, _ = listening.accept()
        with sock:
            _once(sock)


@pytest.fixture
def full() -> Iterator[int]:
    """The port of a server that takes no more connections: those who ask wait, as for an address that is gone."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]
        for sock in waiting:
            sock.close()


def _resolve(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Let any name have these ports of this machine as its addresses, in this order."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_all_addresses_of_a_name_have_one_deadline(full: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _resolve(monkeypatch, full, full, full, full)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match="no connection in time"):
        _ask("many.example", timeout_s=1)
    assert 0.9 < time.monotonic() - started < 2


def test_an_address_that_is_gone_leaves_time_for_the_next(full: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with _server(_politely) as (url, _):
        _resolve(monkeypatch, full, int(url.rpartition(":")[2]))
        assert _ask("many.example", timeout_s=4) == ["m"]


def test_a_name_that_nobody_resolves_is_waited_for_within_the_deadline_by_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A resolver that does not answer takes ten seconds by default, and cannot be interrupted."""
    real, answers, asked = socket.getaddrinfo, threading.Event(), []

    def silent(host: str, *more: Any, flags: int = 0, **named: Any) -> Any:
        if flags & socket.AI_NUMERICHOST:
            return real(host, *more, flags=flags, **named)
        asked.append(threading.current_thread())
        answers.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    with HybridClient("silent.example:8000", protocol="http", timeout_s=0.3, retries=0) as client:
        started = time.monotonic()
        for _ in range(3):
            with pytest.raises(DeadlineExceeded, match="no connection in time"):
                client.models()
        assert time.monotonic() - started < 5
        assert len(asked) == 1
        answers.set()
        asked[0].join(10)
        with pytest.raises(ServerUnavailable, match="Temporary failure in name resolution"):
            client.models()
        asked[1].join(10)
        assert not asked[1].is_alive()
    # An address takes no thread.
    with _server(_politely) as (url, _):
        assert _ask(url) == ["m"]
    assert len(asked) == 2


@asking
def test_a_name_that_cannot_be_one_is_unavailable(ask: Callable[..., list[str]]) -> None:
    with pytest.raises(ServerUnavailable):
        ask("two..dots", retries=0)


def test_without_retries_a_refused_connection_is_unavailable_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(ServerUnavailable) as caught:
        _ask(f"127.0.0.1:{port}", retries=0)
    assert time.monotonic() - started < 1
    assert caught.value.attempts == 1


def test_the_base_path_and_headers_of_the_client_are_sent() -> None:
    heads: list[bytes] = []

    def note(sock: socket.socket) -> None:
        heads.append(_request(sock))
        sock.sendall(_answer())

    for ask in (_ask, _ask_async):
        with _server(note) as (url, _):
            ask(url + "/behind/proxy", headers={"Authorization": "Bearer x"}, timeout_s=30)
    for head in heads:
        assert head.startswith(b"POST /behind/proxy/v2/repository/index HTTP/1.1\r\n")
        assert b"authorization: bearer x" in head.lower()


def test_an_asyncio_client_belongs_to_one_event_loop() -> None:
    with _server(_politely) as (url, _):
        client = AsyncHybridClient(url, protocol="http", timeout_s=30)

        async def use() -> None:
            await client.models()

        async def use_and_close() -> None:
            await client.models()
            await client.close()

        loop = asyncio.new_event_loop()
        loop.run_until_complete(use())
        with pytest.raises(ClientClosed, match="another event loop"):
            asyncio.run(use())
        loop.run_until_complete(use_and_close())
        loop.close()
