"""The blocking client."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from types import TracebackType
from typing import Self, TextIO, TypeVar

from .answers import read_answers
from .calls import Transport
from .catalogue import ServedModel
from .core import Core
from .description import ModelDescription
from .errors import ClientClosed, DeadlineExceeded, RequestCancelled, UnderstudyClientError
from .forks import after_fork
from .predicting import Parameters
from .prediction import Prediction
from .settings import LOAD_TIMEOUT_S, TIMEOUT_S, FilePath, Protocol, connection, count, metrics_address
from .statistics import Statistics
from .steps import Compute, Effect, Pause, Send, Steps, Together, advance
from .transports import transport as transport_for

__all__ = ["HybridClient"]

T = TypeVar("T")


class HybridClient:
    """A client of a Triton server, for hybrid models first of all and for any other model as well.

    One client may be used by any number of threads. It connects at its first call; close it, or use it in a ``with``.

    ``url`` is "host:port" without a scheme (127.0.0.1, port 8001 for gRPC and 8000 for HTTP); ``model`` is taken where
    a call names none. ``timeout_s`` is the deadline, in seconds, of a call that brings none, and ``load_timeout_s``
    that of loading and unloading. A call is sent again up to ``retries`` times, after growing pauses, as its deadline
    allows: where the server is unavailable or the connection broke, unless it may have begun and must not run twice,
    and while its model is being replaced. A refused prediction is sent once more where the model was replaced since it
    was described. No other error has it sent again. With ``attempt_timeout_s`` a call is also sent again where it was
    not answered within so many seconds; the last attempt has all that is left of its deadline.
    ``concurrency`` is how many parts of batches that were split are in flight at once. ``headers`` go with every call.
    With ``ssl`` the server's certificate and name are checked. ``metrics_url`` is "host:port" of the server's metrics
    (8002 is usual): with it `statistics` tells what callers met. A ``transport`` takes the place of the connection.

    Raises `InvalidSettings` for arguments that cannot be used.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        model: str = "",
        protocol: Protocol = "grpc",
        timeout_s: float = TIMEOUT_S,
        load_timeout_s: float = LOAD_TIMEOUT_S,
        retries: int = 3,
        attempt_timeout_s: float | None = None,
        concurrency: int = 4,
        headers: Mapping[str, str] | None = None,
        ssl: bool = False,
        root_certificates: FilePath | None = None,
        private_key: FilePath | None = None,
        certificate_chain: FilePath | None = None,
        metrics_url: str | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._core = Core.of(model, timeout_s, load_timeout_s, retries, attempt_timeout_s)
        self._concurrency = count("concurrency", concurrency, least=1)
        self._metrics = None if metrics_url is None else metrics_address(metrics_url)
        checked = connection(
            url,
            protocol,
            headers=headers,
            ssl=ssl,
            root_certificates=root_certificates,
            private_key=private_key,
            certificate_chain=certificate_chain,
        )
        self._transport = transport_for(checked) if transport is None else transport
        self._workers: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._closed = False
        after_fork(self, HybridClient._begin_anew)

    def predict(
        self,
        data: object,
        *,
        model: str | None = None,
        version: str | int = "",
        deadline_s: float | None = None,
        outputs: Sequence[str] | None = None,
        request_id: str | None = None,
        parameters: Parameters | None = None,
    ) -> Prediction:
        """Run inference and return its `Prediction`.

        ``data``: a mapping from input name to values, or the values alone for a model with one input. Arrays must have
        the model's dtype and shape, batch dimension included; lists of Python values are converted where nothing is
        lost but a float's last digits; strings may be str or bytes. A batch above the model's ``max_batch_size`` is
        sent in parts side by side, and the answers are joined in order.
        ``version``: "" is the server's choice. ``deadline_s``: seconds for everything, retries and parts included; what
        is left of it goes to the server as the parameter ``deadline_ms``. ``outputs``: the names wanted, all if none.
        ``request_id``: made up if none. ``parameters``: more request parameters (str, int, float, bool).

        Raises `InvalidRequest` and its kinds, `ModelNotFound`, `ModelNotReady`, `DeadlineExceeded`,
        `ServerUnavailable` and the others of `errors`.
        """
        return self._run(
            self._core.predict(
                data,
                model=model,
                version=version,
                deadline_s=deadline_s,
                outputs=outputs,
                request_id=request_id,
                parameters=parameters,
            )
        )

    def describe(
        self, model: str | None = None, *, version: str | int = "", deadline_s: float | None = None
    ) -> ModelDescription:
        """Ask the server what a model takes and gives; raises `ModelNotFound` or `ModelNotReady`."""
        return self._run(self._core.describe(model, version, deadline_s))

    def models(self, *, deadline_s: float | None = None) -> tuple[ServedModel, ...]:
        """List what is in the server's repository, served or not, by name."""
        return self._run(self._core.models(deadline_s))

    def statistics(self, model: str | None = None, *, deadline_s: float | None = None) -> Statistics:
        """Read the server's counters of a hybrid and its twins; raises `ModelNotFound` where it has none of them.

        With a ``metrics_url`` the hybrid's metrics are read as well, once and within the same deadline; raises
        `DeadlineExceeded`, `ServerUnavailable`, `ConnectionLost` or `ServerError`.
        """
        deadline = self._core.deadline(deadline_s)
        found = self._run(self._core.statistics(model, deadline))
        if self._metrics is None:
            return found
        return replace(found, answers=read_answers(self._metrics, found.model, deadline))

    def print_statistics(
        self, model: str | None = None, *, file: TextIO | None = None, deadline_s: float | None = None
    ) -> None:
        """Write the table of `statistics` to ``file``, standard output by default."""
        table = self.statistics(model, deadline_s=deadline_s).table()
        (sys.stdout if file is None else file).write(table + "\n")

    def load(self, model: str, *, deadline_s: float | None = None) -> None:
        """Load a model, or what has changed of its files since it was loaded; returns when it is served.

        Raises `ModelNotFound`, or `LoadFailed` with the server's reason; a version served before stays served then.
        """
        self._run(self._core.load(model, deadline_s))

    def unload(self, model: str, *, deadline_s: float | None = None) -> None:
        """Unload a model; returns when the requests in flight have ended and it is gone. Raises `ModelNotFound`.

        Where one still holds it after ten seconds it returns as well: a model whose process died may never be gone, and
        can be loaded again. It takes no new requests from the start of the call.
        """
        self._run(self._core.unload(model, deadline_s))

    def close(self) -> None:
        """Close the connections. Nothing is sent after that.

        Over gRPC calls in flight in other threads end with an error; over HTTP the requests under way are answered.
        """
        with self._lock:
            self._closed = True
            workers, self._workers = self._workers, None
        if workers is not None:
            # What still waits for a worker is begun, and ends as closed: nothing wakes the callers of futures that
            # shutdown() cancels.
            workers.shutdown(wait=False)
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _begin_anew(self) -> None:
        """Have no workers yet: those of its parent are not there in a forked process."""
        self._workers, self._lock = None, threading.Lock()

    def _run(self, steps: Steps[T], given_up: threading.Event | None = None) -> T:
        """Perform the effects of ``steps``, of a part of a batch until its caller has given up."""
        result: object = None
        error: UnderstudyClientError | None = None
        while True:
            try:
                effect = advance(steps, result, error)
            except StopIteration as stop:
                value: T = stop.value
                return value
            result = error = None
            try:
                result = self._perform(effect, given_up)
            except UnderstudyClientError as caught:
                error = caught

    def _perform(self, effect: Effect, given_up: threading.Event | None) -> object:
        if self._closed:
            raise ClientClosed("it is closed")
        if given_up is not None and given_up.is_set():
            raise RequestCancelled("a part of a batch", "its caller has given up")
        if isinstance(effect, Send):
            return self._transport.send(effect.call, effect.timeout_s)
        if isinstance(effect, Pause):
            (time.sleep if given_up is None else given_up.wait)(effect.seconds)
            return None
        if isinstance(effect, Compute):
            return effect.work()
        return self._together(effect)

    def _together(self, batch: Together) -> list[object]:
        """Run all parts in the workers, which belong to all callers, until the deadline; the first error is raised.

        Then the parts that wait for a worker are dropped, and those that run end after the request they are at.
        """
        given_up = threading.Event()
        with self._lock:
            if self._closed:
                raise ClientClosed("it is closed")
            if self._workers is None:
                self._workers = ThreadPoolExecutor(self._concurrency, thread_name_prefix="understudy-client")
            futures = [self._workers.submit(self._run, part, given_up) for part in batch.steps]
        try:
            remaining = min(batch.deadline.remaining(), threading.TIMEOUT_MAX)
            done, late = wait(futures, remaining, FIRST_EXCEPTION)
            for future in futures:
                if future in done and (error := future.exception()) is not None:
                    raise error
            if late:
                unsent = sum(future.cancel() for future in late)
                detail = f"{len(late)} of its {len(futures)} parts had no answer, {unsent} of them were not sent"
                raise DeadlineExceeded(batch.title, detail, batch.deadline.seconds)
            return [future.result() for future in futures]
        finally:
            given_up.set()
            for future in futures:
                future.cancel()
