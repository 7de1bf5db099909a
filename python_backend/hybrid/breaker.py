"""When a twin may be asked: a circuit breaker for each. Knows neither Triton nor threads; clock and dice are given."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum


class State(IntEnum):
    """What a breaker lets through: everything, one probe, nothing. The numbers are those of the metric."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


@dataclass(frozen=True)
class Policy:
    """When a breaker opens, and for how long. Times are in seconds.

    It opens when `in_a_row` calls fail one after the other, or `late_in_a_row` are late; when of `least_calls` or more
    in the last `window_s` the share `failure_ratio` failed; and at once when the twin cannot be asked at all. It stays
    open for `first_pause_s`, twice as long after each failed probe, up to `longest_pause_s`, and for `absent_pause_s`
    where the twin is not loaded: that costs nothing to find out, and it is often about to be. Up to `jitter` of a pause
    is added or taken away, so that the hybrids of many servers do not probe in step.
    """

    in_a_row: int = 5
    late_in_a_row: int = 3
    failure_ratio: float = 0.5
    least_calls: int = 20
    window_s: int = 10
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0
    absent_pause_s: float = 0.5
    jitter: float = 0.1


class Ticket:
    """Leave to ask a twin once. The first verdict that is told of it counts, and no other.

    A call that comes back after the breaker has changed says nothing of the twin as it is now: its verdict is dropped.
    """

    __slots__ = ("_breaker", "generation", "told")

    def __init__(self, breaker: Breaker, generation: int) -> None:
        self._breaker = breaker
        self.generation = generation
        self.told = False

    def succeeded(self) -> None:
        """The twin answered, in time and rightly."""
        self._breaker.take(self, None)

    def failed(self, cause: str, *, late: bool = False, gone: bool = False, absent: bool = False) -> bool:
        """The twin did not answer, or wrongly, or not in time (`late`); or it is not there to be asked (`gone`).

        Of those that are gone, the `absent` are not loaded. Gives whether the verdict counts.
        """
        return self._breaker.take(self, cause, late=late, gone=gone, absent=absent)

    def undecided(self) -> None:
        """The call says nothing about the twin: the request may be to blame."""
        self._breaker.drop(self)


# The ticket of each twin that was asked for a batch: whoever sees it fail tells its verdict.
Tickets = dict[str, Ticket]


def undecided(tickets: Tickets) -> None:
    """Tell of each that its call says nothing about the twin."""
    # A late call of the same job may add one meanwhile.
    for ticket in tuple(tickets.values()):
        ticket.undecided()


class Breaker:
    """Counts the verdicts on one twin's calls. Thread-safe.

    Half-open it gives one ticket, for the probe. Should the probe's verdict not come, it gives another a pause later:
    the success of any of them closes it, since a twin may well take longer than a pause; a failure counts of the last.
    `dice` gives numbers from 0 to 1; `opened` is called, from within, each time that it opens.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        dice: Callable[[], float],
        opened: Callable[[], None] = lambda: None,
        policy: Policy | None = None,
    ) -> None:
        self._clock = clock
        self._dice = dice
        self._opened = opened
        self._policy = policy or Policy()
        self._lock = threading.Lock()
        self._generation = 0
        self._first_probe = 0
        self._state = State.CLOSED
        self._until = 0.0
        self._pause_s = self._policy.first_pause_s
        self._failed_in_a_row = 0
        self._late_in_a_row = 0
        self._window = _Window(self._policy.window_s)
        self.cause = ""

    @property
    def state(self) -> State:
        """What the last call met. An open breaker whose pause is over stays so until somebody asks."""
        return self._state

    @property
    def admits(self) -> bool:
        """Whether somebody who asks now is let through, as far as can be said before."""
        return self._state is State.CLOSED or self._clock() >= self._until

    @property
    def is_late(self) -> bool:
        """Whether a call was late, by the twin's own fault, since the last success."""
        return self._late_in_a_row > 0

    def admit(self) -> Ticket | None:
        """Leave to ask the twin, or None. Every ticket is owed a verdict; `cause` tells why there is none."""
        # A call that slips in just as another one opens the breaker does no harm: its verdict is old news by then.
        return Ticket(self, self._generation) if self._state is State.CLOSED else self._probe()

    def _probe(self) -> Ticket | None:
        with self._lock:
            if self._state is not State.CLOSED:
                now = self._clock()
                if now < self._until:
                    return None
                self._generation += 1
                if self._state is State.OPEN:
                    self._first_probe = self._generation
                self._state = State.HALF_OPEN
                self._until = now + self._pause_s
            return Ticket(self, self._generation)

    def take(
        self, ticket: Ticket, cause: str | None, *, late: bool = False, gone: bool = False, absent: bool = False
    ) -> bool:
        """Count the verdict of a ticket: a failure where there is a cause, else a success. False if it is old news."""
        with self._lock:
            if not self._is_news(ticket, succeeded=cause is None):
                return False
            if cause is None:
                self._count_success()
                return True
            self._failed_in_a_row += 1
            self._late_in_a_row += late
            self._window.add(self._clock(), failed=True)
            if self._state is State.HALF_OPEN:
                if not absent:
                    self._pause_s = min(2 * self._pause_s, self._policy.longest_pause_s)
                self._open(cause, absent=absent)
            elif gone or self._is_too_much():
                self._open(cause, absent=absent)
            return True

    def drop(self, ticket: Ticket) -> None:
        """No verdict will come of this ticket. A probe is repeated after another pause of the same length."""
        with self._lock:
            if self._is_news(ticket) and self._state is State.HALF_OPEN:
                self._open(self.cause)

    def _is_news(self, ticket: Ticket, *, succeeded: bool = False) -> bool:
        told, ticket.told = ticket.told, True
        if told or self._state is State.OPEN:
            return False
        any_probe = succeeded and self._state is State.HALF_OPEN
        return ticket.generation >= (self._first_probe if any_probe else self._generation)

    def _count_success(self) -> None:
        self._failed_in_a_row = self._late_in_a_row = 0
        if self._state is State.HALF_OPEN:
            self._state = State.CLOSED
            self._pause_s = self._policy.first_pause_s
            self._window.clear()
        self._window.add(self._clock(), failed=False)

    def _is_too_much(self) -> bool:
        policy = self._policy
        calls, failures = self._window.totals(self._clock())
        return (
            self._failed_in_a_row >= policy.in_a_row
            or self._late_in_a_row >= policy.late_in_a_row
            or (calls >= policy.least_calls and failures >= policy.failure_ratio * calls)
        )

    def _open(self, cause: str, *, absent: bool = False) -> None:
        self._state = State.OPEN
        self._generation += 1
        pause_s = min(self._pause_s, self._policy.absent_pause_s) if absent else self._pause_s
        self._until = self._clock() + pause_s * (1 + self._policy.jitter * (2 * self._dice() - 1))
        self._failed_in_a_row = self._late_in_a_row = 0
        self.cause = cause
        self._opened()


class _Window:
    """Calls and failures of the last seconds, counted by the second."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._counts: dict[int, list[int]] = {}

    def add(self, now: float, *, failed: bool) -> None:
        second = int(now)
        counts = self._counts.get(second)
        if counts is None:
            self._forget(second)
            counts = self._counts[second] = [0, 0]
        counts[0] += 1
        counts[1] += failed

    def totals(self, now: float) -> tuple[int, int]:
        self._forget(int(now))
        return sum(calls for calls, _ in self._counts.values()), sum(failed for _, failed in self._counts.values())

    def clear(self) -> None:
        self._counts.clear()

    def _forget(self, second: int) -> None:
        for old in [each for each in self._counts if each <= second - self._seconds]:
            del self._counts[old]
