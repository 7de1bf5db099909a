"""HTTP, blocking and asyncio.

tritonclient.http packs and unpacks the tensors; its clients are left out. The blocking one is not thread-safe and lives
on gevent: one a thread costs four file descriptors and an operating-system thread, which outlive the thread (seen with
gevent 26.9), and it has no deadline for a whole call. The asyncio one hands large bodies to aiohttp in one piece, which
warns and holds up the event loop.
"""

from __future__ import annotations

import asyncio
import io
from types import ModuleType
from typing import Any, TypeVar

from .calls import Call
from .errors import ConnectionLost, DeadlineExceeded, ServerUnavailable
from .http_connections import Connections
from .http_messages import Request, Response, http_answer, http_request
from .settings import Connection
from .threads import beside_the_loop
from .tls import tls_context

__all__ = ["AsyncHttpTransport", "HttpTransport"]

AnswerT = TypeVar("AnswerT")

# Of an asyncio client at once; calls beyond wait for one, within their deadlines.
_MOST_CONNECTIONS = 100


class HttpTransport:
    """Blocking HTTP; a connection for each call in flight, from any number of threads."""

    def __init__(self, connection: Connection) -> None:
        import tritonclient.http

        self._connection = connection
        self._wire: ModuleType = tritonclient.http
        self._connections = Connections(connection)

    def send(self, call: Call[AnswerT], timeout_s: float) -> AnswerT:
        """See `Transport.send`."""
        place = self._connection.place(call.title)
        response = self._connections.exchange(http_request(call, self._wire), timeout_s, place)
        return http_answer(call, response, self._wire, place)

    def close(self) -> None:
        """See `Transport.close`."""
        self._connections.close()


class AsyncHttpTransport:
    """asyncio HTTP, for the event loop of the first call; a connection for each call in flight, up to a hundred."""

    def __init__(self, connection: Connection) -> None:
        import tritonclient.http.aio

        self._connection = connection
        self._wire: ModuleType = tritonclient.http
        # The HTTP library that tritonclient's extra "http" brings, and that its asyncio client is made of.
        self._aiohttp: Any = tritonclient.http.aio.aiohttp
        self._context = tls_context(connection) if connection.ssl else None
        self._session: Any = None

    async def asend(self, call: Call[AnswerT], timeout_s: float) -> AnswerT:
        """See `AsyncTransport.asend`."""
        place = self._connection.place(call.title)
        request = await beside_the_loop(call, http_request, call, self._wire)
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._exchange(request)
        except TimeoutError as error:
            raise DeadlineExceeded(place, "no answer in time") from error
        except (self._aiohttp.ClientConnectorError, UnicodeError) as error:  # the latter of a name that cannot be one
            raise ServerUnavailable(place, str(error), sent=False) from error
        except (OSError, self._aiohttp.ClientError) as error:
            raise ConnectionLost(place, str(error) or type(error).__name__) from error
        return await beside_the_loop(call, http_answer, call, response, self._wire, place)

    async def aclose(self) -> None:
        """See `AsyncTransport.aclose`."""
        if self._session is not None:
            await self._session.close()

    async def _exchange(self, request: Request) -> Response:
        if self._session is None:
            self._session = self._open()
        # A body in memory is sent in pieces, between which other tasks run, only when it looks like a file.
        body = io.BytesIO(request.body) if request.body else None
        # As http.client does by itself: tensors hardly get smaller, and of compressed JSON nothing here knows.
        headers = {"accept-encoding": "identity", **self._connection.headers, **request.headers}
        path = self._connection.path + request.path
        async with self._session.request(request.method, path, data=body, headers=headers) as response:
            names = {name.lower(): value for name, value in response.headers.items()}
            return Response(response.status, names, await response.read())

    def _open(self) -> Any:
        scheme = "http" if self._context is None else "https"
        return self._aiohttp.ClientSession(
            f"{scheme}://{self._connection.address}",
            connector=self._aiohttp.TCPConnector(
                limit=_MOST_CONNECTIONS, ssl=True if self._context is None else self._context
            ),
            timeout=self._aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
