"""Who has answered others from one look to the next: what Triton counts of a model, without the watch's own probes.

And who answers the watch, for how long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
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
        # What Triton had counted of each when that was asked last, and how much of it for the watch.
        self._last: dict[str, tuple[int, int]] = {}
        self._since: dict[str, float] = {}

    def answered_the_watch(self, name: str) -> None:
        """A probe of this model was answered: Triton counts it as any other request."""
        self._to_the_watch[name] += 1

    def looked(self, well: Collection[str], now: float) -> None:
        """At this look these models have answered the watch, with each of their versions, and no others have."""
        self._since = {name: self._since.get(name, now) for name in well}

    def forget(self, name: str) -> None:
        """For how long this model has answered is counted from the next look on."""
        self._since.pop(name, None)

    def well_s(self, names: Collection[str], now: float) -> list[float]:
        """For how long those of the models have answered that did so at the last look, and at each one since."""
        return [now - self._since[name] for name in names if name in self._since]

    def has_answered_others(self, name: str) -> bool:
        """Whether a model has answered anybody else since this was asked last. A model's first time tells nothing."""
        try:
            count = self._control.answered(name)
        except ServingError:
            return False
        to_the_watch = self._to_the_watch[name]
        last, self._last[name] = self._last.get(name), (count, to_the_watch)
        if last is None:
            return False
        # A model that is loaded anew is counted from 0 on.
        since = count if count < last[0] else count - last[0]
        return since > to_the_watch - last[1]
