"""What a transport is asked and what it answers: plain values, the same for every protocol.

A transport is one method, ``send(call, timeout_s)``, which returns the answer that belongs to the call or raises one
of the errors in `errors`. It does not retry, split, check or cache; all of that is written once above it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np

__all__ = [
    "Array",
    "AsyncTransport",
    "Call",
    "Config",
    "Counters",
    "IndexEntry",
    "Infer",
    "InferAnswer",
    "Load",
    "Metadata",
    "ReadConfig",
    "ReadIndex",
    "ReadMetadata",
    "ReadStatistics",
    "Tensor",
    "TensorSpec",
    "Transport",
    "Unload",
]

AnswerT = TypeVar("AnswerT")
Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Tensor:
    """One input of a request: its name, Triton's name of its dtype ("FP32", "BYTES"), and the values in C order."""

    name: str
    datatype: str
    array: Array


@dataclass(frozen=True)
class TensorSpec:
    """An input or output as the server describes it; -1 in ``shape`` is any size, the batch dimension included."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Metadata:
    """What a model takes and gives."""

    name: str
    versions: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Config:
    """The part of a model's configuration that a caller needs; 0 means that the model has no batch dimension."""

    max_batch_size: int
    optional_inputs: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class InferAnswer:
    """The outputs of one request, in the server's order."""

    model: str
    version: str
    outputs: Mapping[str, Array]


@dataclass(frozen=True)
class IndexEntry:
    """One line of the repository's index; a model that was never loaded has neither version nor state."""

    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Counters:
    """The server's counters of one version of a model since it was loaded, times in nanoseconds.

    ``batch_rows`` and ``batch_ns`` add up executions: the rows computed, and the time (input, inference and output
    together) that these executions took, each counted once however many requests it served.
    """

    model: str
    version: str
    successes: int
    failures: int
    rows: int
    queue_ns: int
    queue_count: int
    batch_rows: int
    batch_ns: int


@dataclass(frozen=True)
class Call(Generic[AnswerT]):
    """Base of everything that can be asked of a server."""

    @property
    def title(self) -> str:
        """What is being done, for messages: "inference on 'm'"."""
        raise NotImplementedError

    @property
    def repeatable(self) -> bool:
        """Whether the server may do it twice: whoever asks changes nothing there."""
        return True


@dataclass(frozen=True)
class _ModelCall(Call[AnswerT]):
    model: str
    version: str = ""

    @property
    def _model(self) -> str:
        return f"{self.model!r} version {self.version}" if self.version else repr(self.model)


@dataclass(frozen=True, eq=False)
class Infer(_ModelCall[InferAnswer]):
    """One inference request; ``rows`` says which rows of a larger batch it holds, first and last, counted from 0."""

    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[str, ...] = ()
    request_id: str = ""
    parameters: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    rows: tuple[int, int] | None = None

    @property
    def title(self) -> str:
        """Name the model, and the rows where the request is a part of a larger batch."""
        rows = f", rows {self.rows[0]} to {self.rows[1]}," if self.rows else ""
        return f"inference on {self._model}{rows}"


@dataclass(frozen=True)
class ReadMetadata(_ModelCall[Metadata]):
    """Ask what a model takes and gives."""

    @property
    def title(self) -> str:
        """Name the model."""
        return f"reading the metadata of {self._model}"


@dataclass(frozen=True)
class ReadConfig(_ModelCall[Config]):
    """Ask for a model's configuration."""

    @property
    def title(self) -> str:
        """Name the model."""
        return f"reading the configuration of {self._model}"


@dataclass(frozen=True)
class ReadStatistics(Call[tuple[Counters, ...]]):
    """Ask for the counters of every version of every model that is loaded."""

    @property
    def title(self) -> str:
        """Say what is read."""
        return "reading the statistics"


@dataclass(frozen=True)
class ReadIndex(Call[tuple[IndexEntry, ...]]):
    """Ask for the repository's index: everything that the server knows, served or not."""

    @property
    def title(self) -> str:
        """Say what is read."""
        return "listing the models"


@dataclass(frozen=True)
class Load(Call[None]):
    """Load a model, or load it again."""

    model: str = ""

    @property
    def title(self) -> str:
        """Name the model."""
        return f"loading {self.model!r}"

    @property
    def repeatable(self) -> bool:
        """It may have loaded another version by then."""
        return False


@dataclass(frozen=True)
class Unload(Call[None]):
    """Unload a model; the server answers before the requests in flight have ended."""

    model: str = ""

    @property
    def title(self) -> str:
        """Name the model."""
        return f"unloading {self.model!r}"

    @property
    def repeatable(self) -> bool:
        """Somebody may have loaded it again by then."""
        return False


@runtime_checkable
class Transport(Protocol):
    """How `HybridClient` reaches a server. ``send`` may be called from several threads at once."""

    def send(self, call: Call[AnswerT], timeout_s: float) -> AnswerT:
        """Return the answer within ``timeout_s`` seconds, or raise an error of `errors`."""

    def close(self) -> None:
        """Give back connections; nothing is sent afterwards."""


@runtime_checkable
class AsyncTransport(Protocol):
    """How `AsyncHybridClient` reaches a server. ``asend`` may be awaited by several tasks of one loop at once."""

    async def asend(self, call: Call[AnswerT], timeout_s: float) -> AnswerT:
        """Return the answer within ``timeout_s`` seconds, or raise an error of `errors`."""

    async def aclose(self) -> None:
        """Give back connections; nothing is sent afterwards."""
