"""The asyncio client."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TextIO, TypeVar

from .answers import read_answers
from .calls import AsyncTransport
from .catalogue import ServedModel
from .core import Core
from .description import ModelDescription
from .errors import ClientClosed, UnderstudyClientError
from .predicting import Parameters
from .prediction import Prediction
from .settings import LOAD_TIMEOUT_S, TIMEOUT_S, FilePath, Protocol, connection, count, metrics_address
from .statistics import Statistics
from .steps import Compute, Effect, Pause, Send, Steps, advance
from .transports import async_transport

__all__ = ["AsyncHybridClient"]

T = TypeVar("T")


class AsyncHybridClient:
    """`HybridClient` for asyncio: the same arguments, verbs and errors, each verb awaited.

    A client belongs to the event loop of its first call; any number of tasks of that loop may use it at once.
    Use it in an ``async with``, or await `close`. ``concurrency`` holds for each `predict` by itself.
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
        transport: AsyncTransport | None = None,
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
        self._is_own = transport is None
        self._transport = async_transport(checked) if transport is None else transport
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def predict(
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
        """See `HybridClient.predict`. Cancelling the task cancels what is in flight."""
        return await self._run(
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

    async def describe(
        self, model: str | None = None, *, version: str | int = "", deadline_s: float | None = None
    ) -> ModelDescription:
        """See `HybridClient.describe`."""
        return await self._run(self._core.describe(model, version, deadline_s))

    async def models(self, *, deadline_s: float | None = None) -> tuple[ServedModel, ...]:
        """See `HybridClient.models`."""
        return await self._run(self._core.models(deadline_s))

    async def statistics(self, model: str | None = None, *, deadline_s: float | None = None) -> Statistics:
        """See `HybridClient.statistics`."""
        deadline = self._core.deadline(deadline_s)
        found = await self._run(self._core.statistics(model, deadline))
        if self._metrics is None:
            return found
        return replace(found, answers=await asyncio.to_thread(read_answers, self._metrics, found.model, deadline))

    async def print_statistics(
        self, model: str | None = None, *, file: TextIO | None = None, deadline_s: float | None = None
    ) -> None:
        """See `HybridClient.print_statistics`."""
        table = (await self.statistics(model, deadline_s=deadline_s)).table()
        (sys.stdout if file is None else file).write(table + "\n")

    async def load(self, model: str, *, deadline_s: float | None = None) -> None:
        """See `HybridClient.load`."""
        await self._run(self._core.load(model, deadline_s))

    async def unload(self, model: str, *, deadline_s: float | None = None) -> None:
        """See `HybridClient.unload`."""
        await self._run(self._core.unload(model, deadline_s))

    async def close(self) -> None:
        """Close the connections; calls in flight in other tasks end with an error."""
        self._closed = True
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, steps: Steps[T]) -> T:
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
                result = await self._perform(effect)
            except UnderstudyClientError as caught:
                error = caught

    async def _perform(self, effect: Effect) -> object:
        self._check()
        if isinstance(effect, Send):
            return await self._transport.asend(effect.call, effect.timeout_s)
        if isinstance(effect, Pause):
            await asyncio.sleep(effect.seconds)
            return None
        if isinstance(effect, Compute):
            return await asyncio.to_thread(effect.work)
        return await self._together(effect.steps)

    def _check(self) -> None:
        if self._closed:
            raise ClientClosed("it is closed")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop and self._is_own:
            raise ClientClosed("it belongs to another event loop")

    async def _together(self, steps: Sequence[Steps[Any]]) -> list[object]:
        """Run all as tasks, some at a time; the first error is raised and the others are cancelled."""
        places = asyncio.Semaphore(self._concurrency)

        async def one(part: Steps[Any]) -> object:
            async with places:
                return await self._run(part)

        tasks = [asyncio.create_task(one(part)) for part in steps]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
