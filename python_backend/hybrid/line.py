"""Who is next where threads are short: jobs that no thread has taken up yet, and jobs that wait to fall back."""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Iterator

from .errors import TwinFailed
from .jobs import Job

# A job and, where its first twin has failed already, why: the other twin is to be asked then.
Next = tuple[Job, "TwinFailed | None"]


class Line:
    """Both kinds of jobs, in the order of their arrival. Not thread-safe: the pool's lock guards it.

    Only `most_fallbacks` calls that fall back are under way at a time. So a twin that is back finds threads to ask it,
    and not all of them at the other one, which may be ten times slower. A job that waits in vain for its turn to fall
    back goes to the twin that it prefers, then.
    """

    def __init__(self, most_fallbacks: int) -> None:
        self._most_fallbacks = most_fallbacks
        self._fresh: deque[Job] = deque()
        self._failed: list[tuple[Job, TwinFailed]] = []
        self.falling_back = 0

    def __len__(self) -> int:
        return len(self._fresh) + len(self._failed)

    @property
    def has_failed(self) -> bool:
        """Whether a job waits for its turn to fall back, or for its twin to be back: nobody will tell it."""
        return bool(self._failed)

    def add(self, jobs: list[Job]) -> None:
        """Jobs that no thread is free for."""
        self._fresh.extend(jobs)

    def add_late(self, job: Job) -> None:
        """A job that was held elsewhere: it comes before those that arrived after it."""
        place = sum(each.arrived <= job.arrived for each in self._fresh)
        self._fresh.insert(place, job)

    def add_failed(self, job: Job, cause: TwinFailed) -> None:
        """A job whose first twin has failed."""
        insort(self._failed, (job, cause), key=lambda each: each[0].arrived)

    def take(self) -> Next | None:
        """What a free thread is to do. With a cause, `falling_back` counts it until the thread is done."""
        # One that was thought to be late may have come back meanwhile.
        while self._failed and self._failed[0][0].is_answered:
            del self._failed[0]
        if self._failed:
            job, cause = self._failed[0]
            again = job.may_ask_again(cause)
            if again or self.falling_back < self._most_fallbacks:
                del self._failed[0]
                self.falling_back += not again
                return job, None if again else cause
        return (self._fresh.popleft(), None) if self._fresh else None

    def take_overdue(self, now: float) -> list[Next]:
        """Those that waited too long, at any time up to `now`."""
        over = [each for each in self._all() if now >= each[0].deadline]
        if over:
            self._fresh = deque(job for job in self._fresh if now < job.deadline)
            self._failed = [each for each in self._failed if now < each[0].deadline]
        return over

    @property
    def nearest_deadline(self) -> float:
        """When the next one will have waited too long."""
        return min((job.deadline for job, _ in self._all()), default=math.inf)

    def _all(self) -> Iterator[Next]:
        yield from ((job, None) for job in self._fresh)
        yield from self._failed
