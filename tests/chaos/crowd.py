"""Hundreds of callers in one thread: each asks again when it is answered, and steps back when it is told to."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
import numpy as np
from numpy.typing import NDArray

from loadtests.wire import INFER, decode, encode

# How long a caller waits that was told to come back later.
_STEP_BACK_S = 0.5


@dataclass
class Told:
    """What callers were told: answers by who served them, errors by their status, and the seconds of each."""

    served_by: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    answer_s: list[float] = field(default_factory=list)
    refusal_s: list[float] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return sum(self.served_by.values())

    def percentile_ms(self, part: float) -> float:
        """Within how many milliseconds this part of the answers came."""
        return float(np.percentile(self.answer_s, part * 100)) * 1e3


class Crowd:
    """`clients` callers of `model`, for as long as the context lasts. Each has its own values and checks the answer."""

    def __init__(self, url: str, model: str, clients: int, *, width: int = 5, deadline_s: float = 30.0) -> None:
        self._url = url
        self._model = model
        self._clients = clients
        self._width = width
        self._deadline_s = deadline_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()))
        self.told = Told()

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(self._deadline_s + 30)
        assert not self._thread.is_alive(), "a caller got no answer"

    def until(self, done: Callable[[Told], bool], timeout_s: float = 30.0) -> float:
        """Wait until `done` says so; the seconds that it took."""
        start = time.monotonic()
        while not done(self.told):
            assert time.monotonic() - start < timeout_s, (self.told.served_by, self.told.errors)
            time.sleep(0.02)
        return time.monotonic() - start

    def more(self, count: int, served_by: str | None = None, timeout_s: float = 30.0) -> float:
        """Wait for so many more answers (of one twin); the seconds that it took."""

        def seen(told: Told) -> int:
            return told.answered if served_by is None else told.served_by[served_by]

        start = seen(self.told)
        return self.until(lambda told: seen(told) >= start + count, timeout_s)

    async def _all(self) -> None:
        async with grpc.aio.insecure_channel(self._url) as channel:
            call = channel.unary_unary(INFER)
            await asyncio.gather(*(self._ask_on(call, seed) for seed in range(self._clients)))

    async def _ask_on(self, call: Callable[..., grpc.aio.UnaryUnaryCall], seed: int) -> None:
        random = np.random.default_rng(seed)
        x = random.standard_normal((1, self._width)).astype(np.float32)
        request, expected = encode(self._model, {"x": x}), x * 2 + 1
        # They do not all come in one instant.
        await asyncio.sleep(random.random() * 0.5)
        while not self._stop.is_set():
            start = time.monotonic()
            try:
                raw = await call(request, timeout=self._deadline_s)
            except grpc.RpcError as error:
                self.told.refusal_s.append(time.monotonic() - start)
                self.told.errors[f"{error.code().name}: {_kind(error.details())}"] += 1
                await asyncio.sleep(_STEP_BACK_S * (0.5 + random.random()))
                continue
            self.told.answer_s.append(time.monotonic() - start)
            self._check(raw, expected)

    def _check(self, raw: bytes, expected: NDArray[np.float32]) -> None:
        answer = decode(raw)
        if answer.outputs["y"].tobytes() != expected.tobytes():
            self.told.wrong.append(f"{answer.outputs['y']} instead of {expected}")
        for twin in answer.served_by:
            self.told.served_by[twin] += 1


def _kind(details: str | None) -> str:
    """The beginning of a message: its numbers and names differ from one request to the next."""
    return (details or "").partition(":")[0][:60]
