"""Which requests share a call: those that would only wait behind calls under way wait for company instead."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .jobs import Job

# Who is in more of a hurry than this is not held back: the watchdog sends on within half of it what nobody joins.
PATIENT_S = 2.0


class Gather:
    """Holds jobs of each kind until they have `max_rows` together, or the twin has nothing better to do.

    The twin has, while `eager_calls` calls are under way. Where a job's twin is ill, it would go on to the other one,
    which no more than `fallback_calls` may ask that way. Not thread-safe: the pool's lock guards it.
    """

    def __init__(self, max_rows: int, eager_calls: int, fallback_calls: int | None = None) -> None:
        self._max_rows = max_rows
        self._eager_calls = eager_calls
        self._fallback_calls = eager_calls if fallback_calls is None else min(eager_calls, fallback_calls)
        self._held: dict[object, list[Job]] = {}

    def __bool__(self) -> bool:
        """Whether something is held."""
        return bool(self._held)

    def has_time(self, job: Job, calls: int) -> bool:
        """Whether `job` goes at once, alone and whatever its kind, while `calls` are under way."""
        return not self._held and calls < self._enough(job)

    def add(self, job: Job) -> Iterator[Job]:
        """Hold `job`; gives what is to be sent at once: what is full, cannot be joined, or is in a hurry."""
        kind = None if job.patience_s < PATIENT_S else job.kind_of(job.batch)
        if kind is None:
            yield job
            return
        held = self._held.setdefault(kind, [])
        rows = sum(each.batch.rows for each in held) + job.batch.rows
        if held and rows > self._max_rows:
            yield self._joined(kind)
            self._held[kind] = [job]
            rows = job.batch.rows
        else:
            held.append(job)
        if rows >= self._max_rows:
            yield self._joined(kind)

    def take(self, calls: int) -> Job | None:
        """What to send next while `calls` are under way; None while those are enough, or where nothing is held."""
        if calls >= self._eager_calls:
            return None
        return next((self._joined(kind) for kind, jobs in self._held.items() if calls < self._enough(jobs[0])), None)

    @property
    def next_overdue(self) -> float:
        """When the next of what is held will have been held too long."""
        return min(map(_held_until, self._held.values()), default=math.inf)

    def overdue(self, now: float) -> Job | None:
        """What has been held too long."""
        for kind, jobs in self._held.items():
            if now >= _held_until(jobs):
                return self._joined(kind)
        return None

    def take_all(self) -> list[Job]:
        """Everything that is held."""
        return [self._joined(kind) for kind in list(self._held)]

    def _enough(self, job: Job) -> int:
        fewer = self._fallback_calls < self._eager_calls and job.falls_back_at_once
        return self._fallback_calls if fewer else self._eager_calls

    def _joined(self, kind: object) -> Job:
        first, *others = self._held.pop(kind)
        return first.joined(others) if others else first


def _held_until(jobs: list[Job]) -> float:
    return jobs[0].arrived + PATIENT_S / 2
