"""How the logic above the transports is written once: as generators that ask for effects and get their results.

A ``Steps[T]`` yields `Send`, `Pause`, `Compute` or `Together` and returns a T. `HybridClient` performs the effects with
blocking calls and threads, `AsyncHybridClient` with awaits and tasks, a test with a list. Nothing here waits or opens
anything.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from .calls import Call
from .errors import (
    ConnectionLost,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    ServerUnavailable,
    UnderstudyClientError,
)

__all__ = [
    "Backoff",
    "Clock",
    "Compute",
    "Deadline",
    "Effect",
    "Meaning",
    "Pause",
    "Send",
    "Steps",
    "Together",
    "advance",
    "send",
]

# How the hybrid says that time ran out. For itself it is unavailable then: with more time it may well answer.
_DEADLINE = "no answer within the deadline of"
# Clocks of the system, and gRPC's, take no longer time; it is thirty years.
_LONGEST_S = 1e9
# A float holds no higher power of two.
_MOST_DOUBLINGS = 1023

T = TypeVar("T")
AnswerT = TypeVar("AnswerT")

Clock: TypeAlias = Callable[[], float]


@dataclass(frozen=True)
class Send:
    """Send one call; the result is its answer, or the error is thrown into the generator."""

    call: Call[Any]
    timeout_s: float


@dataclass(frozen=True)
class Pause:
    """Wait that many seconds."""

    seconds: float


@dataclass(frozen=True)
class Compute:
    """Work that asks nobody, and takes so long that an event loop must not do it; the result is what it returns."""

    work: Callable[[], object]


@dataclass(frozen=True)
class Together:
    """Run several generators side by side; the results come in their order, the first error ends all.

    ``title`` names the call that they are parts of, for the error where its ``deadline`` passes before all have ended.
    """

    steps: tuple[Steps[Any], ...]
    title: str
    deadline: Deadline


Effect: TypeAlias = Send | Pause | Compute | Together
Steps: TypeAlias = Generator[Effect, Any, T]
# What "not found" means, and whether it will pass by itself.
Meaning: TypeAlias = Callable[[ModelNotFound], Steps[tuple[UnderstudyClientError, bool]]]


def advance(steps: Steps[Any], result: object, error: UnderstudyClientError | None) -> Effect:
    """Hand a generator the outcome of its last effect and return the next one; StopIteration carries its value."""
    return steps.send(result) if error is None else steps.throw(error)


class Deadline:
    """The time budget of one call, in seconds, counted from its creation."""

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        if not (isinstance(seconds, int | float) and math.isfinite(seconds) and seconds > 0):
            raise InvalidRequest(f"a call with deadline_s={seconds!r}", "a deadline is a finite number above 0")
        self.seconds = float(seconds)
        self._clock = clock
        self._end = clock() + min(self.seconds, _LONGEST_S)

    def remaining(self) -> float:
        """Return the seconds left, below zero after the end."""
        return self._end - self._clock()


@dataclass(frozen=True)
class Backoff:
    """How often and how long after one another a call is sent again.

    The n-th pause is ``first_s`` · 2ⁿ, at most ``longest_s``, times a random factor from ½ to 1, so that callers who
    failed together do not come back together. An attempt that is not answered within ``attempt_s`` is given up.
    """

    retries: int
    attempt_s: float = math.inf
    first_s: float = 0.1
    longest_s: float = 2.0
    jitter: Callable[[], float] = random.random

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait after the ``attempt``-th try, counted from 1."""
        whole = min(self.longest_s, self.first_s * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS))
        return whole * (0.5 + 0.5 * self.jitter())

    def patience(self, attempt: int, remaining_s: float) -> float:
        """Return the seconds that the ``attempt``-th try may take; the last one has all that is left."""
        return remaining_s if attempt > self.retries else min(self.attempt_s, remaining_s)


def send(
    make: Callable[[float], Call[AnswerT]], deadline: Deadline, backoff: Backoff, meaning: Meaning | None = None
) -> Steps[AnswerT]:
    """Send a call, again after a pause while the server is unavailable or breaks the connection, and time is left.

    ``make`` builds the call for the seconds that an attempt has, so that a request can say so to the server.
    Raises `DeadlineExceeded` when the time is up, and whatever the transport raises; nothing is ever sent again but
    after `ServerUnavailable` or `ConnectionLost` what may run twice, or where no connection came about, after
    `ModelNotFound` where its ``meaning`` is that it will pass, and, without a pause, where an attempt was given up.
    """
    attempt = 0
    while True:
        attempt += 1
        remaining = deadline.remaining()
        patience = backoff.patience(attempt, remaining)
        call = make(patience)
        if remaining <= 0:
            raise DeadlineExceeded(call.title, "its time was up before it was sent", deadline.seconds)
        try:
            answer: AnswerT = yield Send(call, patience)
        except DeadlineExceeded as error:
            if patience < remaining and deadline.remaining() > 0:
                continue
            raise DeadlineExceeded(error.where, error.detail, deadline.seconds) from error
        except (ServerUnavailable, ConnectionLost, ModelNotFound) as error:
            told, passes = yield from _meaning(error, attempt, meaning, call)
            pause = backoff.pause(attempt)
            too_late = pause >= deadline.remaining()
            if too_late and _DEADLINE in error.detail:
                # The server's clock was a moment ahead of ours.
                raise DeadlineExceeded(error.where, error.detail, deadline.seconds) from error
            if not passes or attempt > backoff.retries or too_late:
                raise told from error
        else:
            return answer
        yield Pause(pause)


def _meaning(
    error: ServerUnavailable | ConnectionLost | ModelNotFound, attempt: int, meaning: Meaning | None, call: Call[Any]
) -> Steps[tuple[UnderstudyClientError, bool]]:
    """What the caller is told where it is not sent again, and whether it may be."""
    if isinstance(error, ConnectionLost):
        return error, call.repeatable
    if isinstance(error, ServerUnavailable):
        # A proxy says it as well of a server that it lost at work.
        told = ServerUnavailable(error.where, error.detail, attempt, error.sent)
        return told, call.repeatable or not error.sent
    return (error, False) if meaning is None else (yield from meaning(error))
