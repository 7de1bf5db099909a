"""Copies of requests that find out, beside the callers' way, whether a twin is well again: one a twin at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

from .breaker import Ticket

# Runs a task beside the callers' way. Raises RuntimeError where the machine has no thread left.
Aside = Callable[[Callable[[], None]], None]
# A copy of a request that has not returned after so long keeps another one from asking no longer.
_COPY_LOST_S = 60.0


class Copies:
    """Who of the twins is asked by a copy now."""

    def __init__(self, clock: Callable[[], float], aside: Aside) -> None:
        self._clock = clock
        self._aside = aside
        self._sent: dict[str, float] = {}

    def is_out(self, twin: str) -> bool:
        """Whether a copy asks this twin already."""
        return self._clock() - self._sent.get(twin, -math.inf) < _COPY_LOST_S

    def send(self, twin: str, ticket: Ticket, probe: Callable[[], None]) -> None:
        """Let a copy ask this twin, with leave: `probe` does, and tells the verdict."""

        def task() -> None:
            try:
                probe()
            finally:
                self._sent.pop(twin, None)

        self._sent[twin] = self._clock()
        try:
            self._aside(task)
        except RuntimeError:
            self._sent.pop(twin, None)
            ticket.undecided()
