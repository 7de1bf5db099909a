"""A transport without a server, for the tests of programs that use the client.

    def double(inputs):
        return {"y": inputs["x"] * 2}

    model = FakeModel(
        "m", inputs={"x": ("FP32", [-1, 2])}, outputs={"y": ("FP32", [-1, 2])}, answer=double, max_batch_size=8
    )
    with HybridClient(model="m", transport=FakeTransport(model)) as client:
        client.predict([[1.0, 2.0]])

One fake serves blocking and asyncio clients alike.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np

from .calls import (
    Array,
    Call,
    Config,
    Counters,
    IndexEntry,
    Infer,
    InferAnswer,
    Load,
    Metadata,
    ReadConfig,
    ReadIndex,
    ReadMetadata,
    ReadStatistics,
    TensorSpec,
    Unload,
)
from .description import SERVED_BY
from .errors import InvalidRequest, ModelNotFound, UnderstudyClientError

__all__ = ["FakeModel", "FakeTransport", "SentCall"]

AnswerT = TypeVar("AnswerT")
Arrays: TypeAlias = Mapping[str, Array]
Turn: TypeAlias = UnderstudyClientError | Arrays | Callable[[Infer], InferAnswer]


@dataclass(frozen=True)
class FakeModel:
    """A model of a `FakeTransport`.

    ``inputs`` and ``outputs`` map a name to Triton's dtype and the shape, the batch dimension (-1) included where
    ``max_batch_size`` is above 0. ``answer`` takes the inputs of one request and returns the outputs. ``served_by``
    makes it a hybrid whose rows were all served by that twin.
    """

    name: str
    inputs: Mapping[str, tuple[str, Sequence[int]]]
    outputs: Mapping[str, tuple[str, Sequence[int]]]
    answer: Callable[[Arrays], Arrays]
    max_batch_size: int = 0
    served_by: str | None = None
    version: str = "1"
    optional_inputs: frozenset[str] = frozenset()

    def metadata(self) -> Metadata:
        """Return what a server would say of it."""
        outputs = dict(self.outputs)
        if self.served_by is not None:
            outputs[SERVED_BY] = ("BYTES", [-1, 1] if self.max_batch_size else [1])
        return Metadata(self.name, (self.version,), _specs(self.inputs), _specs(outputs))

    def infer(self, call: Infer) -> InferAnswer:
        """Return the answer to one request; raises `InvalidRequest` for a batch above ``max_batch_size``."""
        inputs = {tensor.name: tensor.array for tensor in call.inputs}
        rows = next(iter(inputs.values())).shape[0] if self.max_batch_size else 1
        if self.max_batch_size and rows > self.max_batch_size:
            raise InvalidRequest(_place(call), f"batch-size must be <= {self.max_batch_size}")
        outputs = dict(self.answer(inputs))
        if self.served_by is not None:
            shape = (rows, 1) if self.max_batch_size else (1,)
            outputs[SERVED_BY] = np.full(shape, self.served_by.encode(), dtype=np.object_)
        return InferAnswer(self.name, self.version, {name: outputs[name] for name in call.outputs or outputs})


@dataclass(frozen=True)
class SentCall:
    """A call as the transport got it, with the seconds it had."""

    call: Call[Any]
    timeout_s: float


@dataclass
class _State:
    loaded: bool = True
    successes: int = 0
    failures: int = 0
    rows: int = 0


class FakeTransport:
    """A `Transport` and an `AsyncTransport` that answers from `FakeModel`s, all of them loaded at first.

    ``sent`` holds every call in the order in which it came; ``closed`` tells whether a client closed it, which does not
    keep the next client from using it.
    """

    def __init__(self, *models: FakeModel) -> None:
        self.sent: list[SentCall] = []
        self.closed = False
        self._models = {model.name: model for model in models}
        self._states = {model.name: _State() for model in models}
        self._script: deque[Turn] = deque()
        self._lock = threading.Lock()

    def script(self, *turns: Turn) -> None:
        """Decide about the next inference requests, one turn each; the models answer again afterwards.

        A turn is an error to raise, the outputs to answer with, or a function of the request that does either.
        """
        self._script.extend(turns)

    @property
    def requests(self) -> list[Infer]:
        """The inference requests among ``sent``."""
        return [sent.call for sent in self.sent if isinstance(sent.call, Infer)]

    def send(self, call: Call[AnswerT], timeout_s: float) -> AnswerT:
        """See `Transport.send`."""
        with self._lock:
            self.sent.append(SentCall(call, timeout_s))
            turn = self._script.popleft() if isinstance(call, Infer) and self._script else None
        return cast(AnswerT, self._infer(call, turn) if isinstance(call, Infer) else self._read(call))

    async def asend(self, call: Call[AnswerT], timeout_s: float) -> AnswerT:
        """See `AsyncTransport.asend`."""
        await asyncio.sleep(0)
        return self.send(call, timeout_s)

    def close(self) -> None:
        """See `Transport.close`."""
        self.closed = True

    async def aclose(self) -> None:
        """See `AsyncTransport.aclose`."""
        self.close()

    def _infer(self, call: Infer, turn: Turn | None) -> Any:
        model, state = self._model(call), self._states[call.model]
        try:
            if isinstance(turn, UnderstudyClientError):
                raise turn
            if isinstance(turn, Mapping):
                answer = InferAnswer(model.name, model.version, turn)
            else:
                answer = model.infer(call) if turn is None else turn(call)
        except UnderstudyClientError:
            with self._lock:
                state.failures += 1
            raise
        with self._lock:
            state.successes += 1
            state.rows += call.inputs[0].array.shape[0] if model.max_batch_size else 1
        return answer

    def _read(self, call: Call[Any]) -> Any:
        match call:
            case ReadMetadata():
                return self._model(call).metadata()
            case ReadConfig():
                model = self._model(call)
                return Config(model.max_batch_size, model.optional_inputs)
            case ReadIndex():
                return tuple(self._entry(model) for model in self._models.values())
            case ReadStatistics():
                return tuple(
                    self._counters(model) for model in self._models.values() if self._states[model.name].loaded
                )
            case Load() | Unload():
                if call.model not in self._models:
                    raise ModelNotFound(_place(call), "no such model")
                self._states[call.model] = _State(loaded=isinstance(call, Load))
        return None

    def _model(self, call: Infer | ReadMetadata | ReadConfig) -> FakeModel:
        model = self._models.get(call.model)
        if model is None or not self._states[call.model].loaded or call.version not in ("", model.version):
            raise ModelNotFound(_place(call), f"unknown model {call.model!r}")
        return model

    def _entry(self, model: FakeModel) -> IndexEntry:
        if self._states[model.name].loaded:
            return IndexEntry(model.name, model.version, "READY")
        return IndexEntry(model.name, model.version, "UNAVAILABLE", "unloaded")

    def _counters(self, model: FakeModel) -> Counters:
        state = self._states[model.name]
        return Counters(model.name, model.version, state.successes, state.failures, state.rows, 0, 0, 0, 0)


def _specs(tensors: Mapping[str, tuple[str, Sequence[int]]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, datatype, tuple(shape)) for name, (datatype, shape) in tensors.items())


def _place(call: Call[Any]) -> str:
    return f"{call.title} at a fake transport"
