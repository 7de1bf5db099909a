"""A number of clients that each send the next request when the last one is answered, over gRPC, in one process."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from loadtests import direct
from loadtests.wire import INFER

_CONNECTIONS = 2


@dataclass
class Run:
    """What a run saw. Latencies are in seconds; `kept` holds the bytes of a share of the answers."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)

    @property
    def throughput(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds


class Connections:
    """A few connections to one server, shared by all clients. A context manager."""

    def __init__(self, grpc_url: str, timeout_s: float = 60.0) -> None:
        # Without an option that differs, gRPC would put all channels on one connection.
        self._channels = [direct.channel(grpc_url, ("understudy.connection", number)) for number in range(_CONNECTIONS)]
        # The bytes go out as they are and come back as they are: packing them would be most of the generator's work.
        self._calls = [
            channel.unary_unary(INFER, request_serializer=None, response_deserializer=None)
            for channel in self._channels
        ]
        self._timeout_s = timeout_s

    def __enter__(self) -> Connections:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._channels:
            channel.close()

    def ask(self, request: bytes) -> bytes:
        """One request by itself. Raises grpc.RpcError."""
        return bytes(self._calls[0](request, timeout=self._timeout_s, wait_for_ready=True))

    def run(self, request: bytes, clients: int, seconds: float, keep_every: int) -> Run:
        """Load from `clients` clients for `seconds`; requests under way at the end are waited for and counted."""
        return _Loop(self._calls, request, self._timeout_s, clients, keep_every).run(seconds)


class _Loop:
    """Client n sends from the callback of its last answer: no thread waits, and none is woken for nothing."""

    def __init__(self, calls: list[Any], request: bytes, timeout_s: float, clients: int, keep_every: int) -> None:
        self._calls = calls
        self._request = request
        self._timeout_s = timeout_s
        self._clients = clients
        self._keep_every = keep_every
        self._lock = threading.Lock()
        self._working = clients
        self._done = threading.Event()
        self._run = Run()
        self._end = 0.0

    def run(self, seconds: float) -> Run:
        start = time.perf_counter()
        self._end = start + seconds
        for client in range(self._clients):
            self._send(client)
        # Each call has a deadline of its own, so this ends.
        self._done.wait()
        self._run.seconds = time.perf_counter() - start
        return self._run

    def _send(self, client: int) -> None:
        sent = time.perf_counter()
        if sent >= self._end:
            with self._lock:
                self._working -= 1
                if self._working == 0:
                    self._done.set()
            return
        future = self._calls[client % len(self._calls)].future(self._request, timeout=self._timeout_s)
        future.add_done_callback(lambda answered: self._answered(client, sent, answered))

    def _answered(self, client: int, sent: float, future: Any) -> None:
        took = time.perf_counter() - sent
        error = future.exception()
        with self._lock:
            if error is not None:
                self._run.errors.append(f"{error.code().name}: {error.details()}")
            else:
                self._run.latencies.append(took)
                if len(self._run.latencies) % self._keep_every == 1 % self._keep_every:
                    self._run.kept.append(future.result())
        self._send(client)
