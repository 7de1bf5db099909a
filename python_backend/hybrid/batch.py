"""What goes to a twin in one call, and what comes back. Arrays are made only when something needs them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .settings import Wishes

Arrays = Mapping[str, NDArray[Any]]


# Nothing changes these two once they are made; freezing them would cost every request some microseconds.
@dataclass(slots=True)
class Batch:
    """The rows of one call. `native` is the server's own form of `inputs()`, handed on as it is where there is one.

    A batch is one `request`, which is to be told the outputs `wanted`, with inputs of `size` bytes, or joins several:
    then `parts` are theirs, row below row. `asked` is what the twins are asked for.
    """

    rows: int
    asked: frozenset[str]
    wishes: Wishes
    inputs: Callable[[], Arrays]
    native: Any = None
    request: Any = None
    wanted: tuple[str, ...] = ()
    size: int = 0
    parts: tuple[Batch, ...] = ()

    @property
    def members(self) -> tuple[Batch, ...]:
        """The batch of each request in it."""
        return self.parts or (self,)

    @property
    def callers(self) -> list[Any]:
        """The requests in it, in the server's own form."""
        return [member.request for member in self.members]

    def copy(self) -> Batch:
        """The same rows in memory of their own, for when the callers have been answered; of no request any more."""
        inputs = {name: np.array(array) for name, array in self.inputs().items()}
        return Batch(self.rows, self.asked, self.wishes, lambda: inputs)

    def take(self, mask: NDArray[np.bool_]) -> Batch:
        """The same for the rows that are chosen, one at least, and for the requests that they belong to."""
        if self.parts:
            stops = np.cumsum([part.rows for part in self.parts])
            chosen = zip(self.parts, np.split(mask, stops[:-1]), strict=True)
            return join([part.take(rows) for part, rows in chosen if rows.any()])
        inputs = self.inputs
        return replace(
            self,
            rows=int(mask.sum()),
            inputs=lambda: {name: array[mask] for name, array in inputs().items()},
            native=None,
        )


def join(parts: Sequence[Batch]) -> Batch:
    """One batch of several requests of one kind, row below row; a single one stays itself."""
    if len(parts) == 1:
        return parts[0]

    def inputs() -> Arrays:
        arrays = [part.inputs() for part in parts]
        return {name: np.concatenate([each[name] for each in arrays]) for name in arrays[0]}

    first = parts[0]
    asked = frozenset().union(*(part.asked for part in parts))
    return Batch(sum(part.rows for part in parts), asked, first.wishes, inputs, parts=tuple(parts))


def parameters_for_twins(said: str) -> dict[str, bool | int | str]:
    """What a request said as its parameters (JSON), as a twin is told it: 0.25 as the text "0.25".

    Triton 24.10 takes no float in a call between models, and the twin may need it. `float` reads both.
    """
    return {name: repr(value) if isinstance(value, float) else value for name, value in json.loads(said).items()}


@dataclass(slots=True)
class Answer:
    """Outputs by name, batch first. `served_by` is one twin, or one for each row."""

    outputs: Arrays
    served_by: str | NDArray[np.object_]
    native: Any = None

    def is_by(self, twin: str) -> bool:
        """Whether every row is this twin's."""
        return bool(np.all(self.served_by == twin))

    def slice(self, start: int, stop: int) -> Answer:
        """The rows of one request out of those of its group."""
        served_by = self.served_by
        if not isinstance(served_by, str):
            served_by = served_by[start:stop]
            first: str = served_by[0]
            served_by = first if np.all(served_by == first) else served_by
        return Answer({name: array[start:stop] for name, array in self.outputs.items()}, served_by)

    def patched(self, mask: NDArray[np.bool_], other: Answer) -> Answer:
        """This answer with the chosen rows taken from another one, in the outputs that it has.

        The requests whose rows these are ask for no other output.
        """
        outputs = dict(self.outputs)
        for name in outputs.keys() & other.outputs.keys():
            outputs[name] = np.array(outputs[name])
            outputs[name][mask] = other.outputs[name]
        served_by = np.full(len(mask), self.served_by, object)
        served_by[mask] = other.served_by
        return Answer(outputs, served_by)
