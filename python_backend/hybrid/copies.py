"""Copies of requests that find out, beside the callers' way, whether a twin is well again: one a twin at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from .breaker import Ticket

# Runs a task beside the callers' way. Raises RuntimeError where the machine has no thread left.
Aside = Callable[[Callable[[], None]], None]
# A copy of a request that has not returned after so long keeps another one from asking no longer; with each one more
# that has not, the next waits twice as long. Each keeps a thread of Triton's, and a twin may hang for days.
_COPY_LOST_S = 60.0


class Copies:
    """Who of the twins is asked by a copy now."""

    def __init__(self, clock: Callable[[], float], aside: Aside) -> None:
        self._clock = clock
        self._aside = aside
        # When each copy was sent that has not returned, the newest last.
        self._out: defaultdict[str, dict[Ticket, float]] = defaultdict(dict)

    def is_out(self, twin: str) -> bool:
        """Whether copies ask this twin already, and it is too early for another one."""
        sent = tuple(self._out[twin].values())
        return bool(sent) and self._clock() - sent[-1] < _COPY_LOST_S * 2 ** (len(sent) - 1)

    def send(self, twin: str, ticket: Ticket, probe: Callable[[], None]) -> None:
        """Let a copy ask this twin, with leave: `probe` does, and tells the verdict."""

        def task() -> None:
            try:
                probe()
            finally:
                self._out[twin].pop(ticket, None)

        self._out[twin][ticket] = self._clock()
        try:
            self._aside(task)
        except RuntimeError:
            self._out[twin].pop(ticket, None)
            ticket.undecided()
