"""gRPC, blocking and asyncio, over tritonclient.grpc."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from .calls import Call, Infer
from .errors import ClientClosed, InvalidSettings, RequestCancelled, RequestTooLarge, UnderstudyClientError
from .messages import read_answer, verb
from .settings import IDLE_S, Connection, FilePath
from .statuses import grpc_error
from .threads import beside_the_loop

__all__ = ["AsyncGrpcTransport", "GrpcTransport", "channel_arguments"]

AnswerT = TypeVar("AnswerT")

# gRPC counts a message's bytes in a signed 32-bit integer; some are for what is not tensors.
_MOST_BYTES = 2**31 - 1
_ENVELOPE_BYTES = 2**20

# Without these, gRPC waits a second and more before it connects again to a server that has come back, and fails every
# call until then, which uses up the retries.
_RECONNECT_MS = (100, 2_000)
# How long a connection may take to be made, which gRPC calls the least wait: a server far away or busy needs some round
# trips, more of them over TLS.
_CONNECT_MS = 5_000
# Where gRPC itself is told which roots to trust.
_GRPCS_ROOTS = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"


def channel_arguments(connection: Connection) -> list[tuple[str, int | str]]:
    """Return gRPC's options for the channel; given at all, they replace tritonclient's own, message sizes included."""
    first, longest = _RECONNECT_MS
    options: list[tuple[str, int | str]] = [
        # A name may stand for several servers, as a headless Service does for its pods: calls go to each in turn, and
        # past one that is gone.
        ("grpc.lb_policy_name", "round_robin"),
        ("grpc.max_send_message_length", _MOST_BYTES),
        ("grpc.max_receive_message_length", _MOST_BYTES),
        # Keepalive pings instead would not do: Triton answers the third on an idle connection with GOAWAY, even where
        # they come at 310 s (seen with 24.10).
        ("grpc.client_idle_timeout_ms", int(IDLE_S * 1000)),
        ("grpc.initial_reconnect_backoff_ms", first),
        ("grpc.min_reconnect_backoff_ms", _CONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", longest),
    ]
    if connection.is_loopback:
        options.append(("grpc.enable_http_proxy", 0))  # a proxy of the environment cannot reach this machine's loopback
    return options


def _roots(connection: Connection) -> FilePath | None:
    """Return the file of the roots to trust: the system's where none was given, or None for gRPC's own.

    gRPC brings roots of its own and goes by them first, so that an authority of one's own in the system's store, by
    which Python and all else goes, would not count. A store that is no single file cannot be handed to it.
    """
    if connection.root_certificates is not None or not connection.ssl or _GRPCS_ROOTS in os.environ:
        return connection.root_certificates
    return ssl.get_default_verify_paths().cafile


def _client(wire: ModuleType, connection: Connection) -> Any:
    files = {
        name: None if file is None else str(file)
        for name, file in (
            ("root_certificates", _roots(connection)),
            ("private_key", connection.private_key),
            ("certificate_chain", connection.certificate_chain),
        )
    }
    # Before tritonclient does: one that it could not finish making complains of itself when it is thrown away.
    for name, file in files.items():
        try:
            if file is not None:
                Path(file).read_bytes()
        except OSError as error:
            raise InvalidSettings(name, file, f"a PEM file that can be read ({error})") from error
    return wire.InferenceServerClient(
        connection.address, ssl=connection.ssl, channel_args=channel_arguments(connection), **files
    )


def _request(call: Call[Any], wire: ModuleType, connection: Connection, timeout_s: float) -> tuple[str, dict[str, Any]]:
    if isinstance(call, Infer):
        size = sum(tensor.array.nbytes for tensor in call.inputs)
        if size > _MOST_BYTES - _ENVELOPE_BYTES:
            detail = f"its inputs hold {size:,} bytes and gRPC carries at most {_MOST_BYTES:,} in a message"
            raise RequestTooLarge(connection.place(call.title), detail)
    method, arguments = verb(call, wire)
    if method.startswith("get_"):
        arguments["as_json"] = True
    arguments["headers"] = dict(connection.headers)
    arguments["client_timeout"] = timeout_s
    return method, arguments


def _error(failure: Any, place: str) -> UnderstudyClientError:
    return grpc_error(failure.status(), place, failure.message() or "")


class GrpcTransport:
    """Blocking gRPC; one channel, which every thread may use at once."""

    def __init__(self, connection: Connection) -> None:
        import tritonclient.grpc
        import tritonclient.utils

        self._connection = connection
        self._wire: ModuleType = tritonclient.grpc
        self._failure: type[Exception] = tritonclient.utils.InferenceServerException
        self._client = _client(self._wire, connection)
        self._closed = False

    def send(self, call: Call[AnswerT], timeout_s: float) -> AnswerT:
        """See `Transport.send`."""
        place = self._connection.place(call.title)
        method, arguments = _request(call, self._wire, self._connection, timeout_s)
        try:
            result = getattr(self._client, method)(**arguments)
        except self._failure as error:
            raise _error(error, place) from error
        except ValueError as error:
            if self._closed:  # gRPC's word for it, seen where another thread closed the client
                raise ClientClosed("it is closed") from error
            raise
        return read_answer(call, result, place)

    def close(self) -> None:
        """See `Transport.close`."""
        self._closed = True
        self._client.close()


class AsyncGrpcTransport:
    """asyncio gRPC; one channel, for the event loop of the first call."""

    def __init__(self, connection: Connection) -> None:
        import tritonclient.grpc.aio
        import tritonclient.utils

        self._connection = connection
        self._wire: ModuleType = tritonclient.grpc.aio
        self._failure: type[Exception] = tritonclient.utils.InferenceServerException
        self._client: Any = None
        self._closed = False

    async def asend(self, call: Call[AnswerT], timeout_s: float) -> AnswerT:
        """See `AsyncTransport.asend`."""
        place = self._connection.place(call.title)
        method, arguments = await beside_the_loop(call, _request, call, self._wire, self._connection, timeout_s)
        if self._client is None:
            self._client = _client(self._wire, self._connection)
        try:
            result = await getattr(self._client, method)(**arguments)
        except self._failure as error:
            raise _error(error, place) from error
        except asyncio.CancelledError as error:
            # gRPC says so of calls in flight when the channel is closed, in tasks that nobody cancelled.
            if self._closed and not _is_cancelled():
                raise RequestCancelled(place, "the client was closed") from error
            raise
        return await beside_the_loop(call, read_answer, call, result, place)

    async def aclose(self) -> None:
        """See `AsyncTransport.aclose`."""
        self._closed = True
        if self._client is not None:
            await self._client.close()


def _is_cancelled() -> bool:
    """Tell whether somebody wants the current task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
