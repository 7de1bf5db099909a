"""Who has answered others from one look to the next: what Triton counts of a model, without the watch's own probes."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from serving.errors import ServingError


class Control(Protocol):
    """What is asked of the server for this: serving.ModelControl has it."""

    def answered(self, name: str) -> int:
        """How many requests the model has answered since it was loaded."""


class Traffic:
    """The answers of the models of one server. One object for one watch."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._to_the_watch: Counter[str] = Counter()
        self._to_others: dict[str, int] = {}

    def answered_the_watch(self, name: str) -> None:
        """A probe of this model was answered: Triton counts it as any other request."""
        self._to_the_watch[name] += 1

    def has_answered_others(self, name: str) -> bool:
        """Whether a model has answered anybody else since this was asked last. A model's first time tells nothing."""
        try:
            now = self._control.answered(name) - self._to_the_watch[name]
        except ServingError:
            return False
        before, self._to_others[name] = self._to_others.get(name), now
        return before is not None and now > before
