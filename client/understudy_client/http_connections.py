"""Kept-alive HTTP/1.1 connections for any number of threads, with one deadline over a whole exchange."""

from __future__ import annotations

import contextlib
import http.client
import io
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, cast

from .errors import ClientClosed, ConnectionLost, DeadlineExceeded, ServerUnavailable
from .forks import after_fork
from .http_messages import Request, Response
from .settings import IDLE_S, Connection
from .tls import tls_context

__all__ = ["Connections"]

# Idle connections beyond this many are closed rather than kept.
_MOST_IDLE = 32
# An answer's body is read in such blocks: room for all of it is not made on the word of its header.
_BLOCK_BYTES = 2**16

# As socket.getaddrinfo gives them.
_Addresses = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]]


class Connections:
    """A pool: a connection belongs to one exchange at a time, and goes back only when its answer was read whole."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._context = tls_context(connection) if connection.ssl else None
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []  # with the time since when
        self._lock = threading.Lock()
        self._closed = False
        self._lookup: Future[_Addresses] | None = None
        after_fork(self, Connections._begin_anew)

    def _begin_anew(self) -> None:
        """Let go of what belongs to the parent of a forked process, which closes nothing there."""
        self._lookup, self._lock = None, threading.Lock()
        idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def exchange(self, request: Request, timeout_s: float, place: str) -> Response:
        """Send one request and read its answer, all within ``timeout_s`` seconds.

        Raises `ServerUnavailable` where no connection comes about, `DeadlineExceeded`, and `ConnectionLost` where one
        breaks later: the server may then have done what was asked.
        """
        end = time.monotonic() + timeout_s
        connection = self._take() or self._connect(end, place)
        try:
            _limit(connection, end)
            headers = {**self._connection.headers, **request.headers}
            connection.request(request.method, self._connection.path + request.path, request.body, headers)
            response = _read(connection, end)
        except TimeoutError as error:
            connection.close()
            raise DeadlineExceeded(place, "no answer in time") from error
        except OSError as error:
            connection.close()
            raise ConnectionLost(place, str(error) or type(error).__name__) from error
        except http.client.HTTPException as error:
            connection.close()
            # Its text may be whatever bytes came: repr() keeps them off the terminal.
            raise ConnectionLost(place, repr(error)) from error
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)
        return response

    def close(self) -> None:
        """Close the idle connections, and those in use as they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _take(self) -> http.client.HTTPConnection | None:
        """Return the connection used last that the server has not closed in the meantime, if there is one."""
        while True:
            with self._lock:
                if self._closed:
                    raise ClientClosed("it is closed")
                if not self._idle:
                    return None
                since, connection = self._idle.pop()
            if time.monotonic() - since < IDLE_S and _is_quiet(connection.sock):
                return connection
            connection.close()

    def _connect(self, end: float, place: str) -> http.client.HTTPConnection:
        host, port = self._connection.host.strip("[]"), self._connection.port
        connection: http.client.HTTPConnection
        if self._context is None:
            connection = http.client.HTTPConnection(host, port)
        else:
            connection = http.client.HTTPSConnection(host, port, context=self._context)
        # Without a socket it would open one of its own.
        connection.auto_open = 0
        try:
            connection.sock = _reach(host, self._addresses(host, port, end), end)
            if self._context is not None:
                connection.sock.settimeout(_left(end))
                connection.sock = self._context.wrap_socket(connection.sock, server_hostname=host)
        except TimeoutError as error:
            connection.close()
            raise DeadlineExceeded(place, "no connection in time") from error
        except (OSError, UnicodeError) as error:  # the latter of a name that cannot be one
            connection.close()
            raise ServerUnavailable(place, str(error), sent=False) from error
        return connection

    def _addresses(self, host: str, port: int, end: float) -> _Addresses:
        """Look a name up, for as long as there is time. Raises OSError, TimeoutError among them, and UnicodeError.

        A lookup that hangs cannot be ended: it keeps a thread, which whoever asks next waits for as well.
        """
        with contextlib.suppress(socket.gaierror):
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        with self._lock:
            lookup = self._lookup
            if lookup is None or lookup.done():
                lookup = Future()
                threading.Thread(target=_look_up, args=(lookup, host, port), daemon=True).start()
                self._lookup = lookup
        return lookup.result(_left(end))

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if connection.sock is not None and not self._closed and len(self._idle) < _MOST_IDLE:
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()


def _look_up(lookup: Future[_Addresses], host: str, port: int) -> None:
    try:
        lookup.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    # Whatever it is belongs to those who wait for it.
    except Exception as error:  # noqa: BLE001
        lookup.set_exception(error)


def _reach(host: str, addresses: _Addresses, end: float) -> socket.socket:
    """Connect to the first address of a name that answers; each has an equal share of the time that is left.

    http.client gives each of them all of it. Raises OSError, TimeoutError among them, as the last address did.
    """
    for still, (family, kind, protocol, _, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(end) / still)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            sock.close()
            if still == 1:
                raise
        else:
            return sock
    raise OSError(f"{host} has no address")


def _left(end: float) -> float:
    remaining = end - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining


def _limit(connection: http.client.HTTPConnection, end: float) -> None:
    """Give the socket the time that is left; sending a whole request then ends by itself."""
    remaining = _left(end)
    if connection.sock is not None:
        connection.sock.settimeout(remaining)


class _InTime(io.RawIOBase):
    """A socket's bytes until ``end``: each wait for some of them has only the time that is left.

    By itself each has all of the socket's time, so that a few bytes now and then would keep a caller for ever.
    """

    def __init__(self, sock: socket.socket, raw: io.RawIOBase, end: float) -> None:
        self._sock, self._raw, self._end = sock, raw, end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._end))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer whose lines and body are there by ``end``; raises TimeoutError from whatever reads it."""

    def __init__(self, end: float, sock: socket.socket, **settings: Any) -> None:
        super().__init__(sock, **settings)
        self.fp: io.BufferedReader = io.BufferedReader(_InTime(sock, self.fp.detach(), end))


def _read(connection: http.client.HTTPConnection, end: float) -> Response:
    connection.response_class = cast(type[http.client.HTTPResponse], partial(_Answer, end))
    blocks = []
    with connection.getresponse() as response:
        while block := response.read(_BLOCK_BYTES):
            blocks.append(block)
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Response(response.status, headers, b"".join(blocks))


def _is_quiet(sock: socket.socket | ssl.SSLSocket | None) -> bool:
    """Tell whether an idle connection is still open: one that has something to read was closed by the server."""
    if sock is None:
        return False
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return not selector.select(0)
