"""The hybrid's own threads: a bounded number that ask the twins, and one that watches the time.

A call to a twin cannot be interrupted. One that is late keeps its thread until it returns, so another thread takes over
what is left to do; the number of threads that are lost in this way is bounded as well.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from functools import partial

from .errors import TwinFailed
from .gather import Gather
from .jobs import Job
from .line import Line
from .worker import Task, Worker, another_worker

# How often the watchdog looks although no time of a job is up: it is not woken for a job that expires later than that.
_LOOK_S = 1.0
# How often it looks while jobs wait for a twin to be back.
_LOOK_BACK_S = 0.05
_DRAIN_STEP_S = 0.02


class Pool:
    """`size` threads for jobs, and up to three times as many more in place of those that late twins keep.

    No more than `most_fallbacks` of them ask a twin because the other one failed. `note` hears of what goes wrong here.
    """

    def __init__(
        self, size: int, gather: Gather, most_fallbacks: int, note: Callable[[str], None] = lambda _text: None
    ) -> None:
        self._size = size
        self._gather = gather
        self._note = note
        self._lock = threading.Lock()
        self._workers = {Worker(self.finished) for _ in range(size)}
        # The last one to fall idle is woken first: what it needs is still in the processor's caches.
        self._idle = list(self._workers)
        self._line = Line(most_fallbacks)
        # With the twin that keeps each.
        self._lost: dict[Worker, str] = {}
        self._wake_at = math.inf
        self._alarm = threading.Event()
        self._ended = False
        self._watchdog = threading.Thread(target=self._watch, daemon=True)
        for thread in (*self._workers, self._watchdog):
            thread.start()

    @property
    def lost(self) -> int:
        """The number of threads whose call is late and has not returned."""
        return len(self._lost)

    def submit(self, *jobs: Job) -> None:
        """Take what came together: each starts now, or with others of its kind when a call returns.

        Where no thread is free, they wait in a line; their deadlines count meanwhile.
        """
        with self._lock:
            if len(jobs) == 1 and self._gather.has_time(jobs[0], self._calls):
                ready = [*jobs]
            else:
                ready = [full for job in jobs for full in self._gather.add(job)]
                while (held := self._gather.take(self._calls + len(ready))) is not None:
                    ready.append(held)
            started = [(self._idle.pop(), job) for job in ready[: len(self._idle)]]
            self._line.add(ready[len(started) :])
            held_until = self._gather.next_overdue
        tasks = [(worker, self._task(worker, job)) for worker, job in started]
        self._watch_for(held_until)
        for job in ready:
            self._watch_for(job.expires)
        # Last, since a thread that is woken takes turns with this one from then on.
        for worker, task in tasks:
            worker.give(task)

    @property
    def _calls(self) -> int:
        return self._size - len(self._idle)

    def _task(self, worker: Worker, job: Job, cause: TwinFailed | None = None) -> Task:
        """What this thread does for a job that it takes up. A twin that keeps half as many threads is not asked."""
        worker.job = job
        worker.falls_back = cause is not None
        now = time.monotonic()
        if job.is_hopeless(now, cause):
            return partial(job.pass_deadline_in_line, cause)
        if cause is not None:
            job.begin_fallback(now)
            return partial(job.fall_back, cause)
        job.begin(now)
        crowded = bool(self._lost) and 2 * list(self._lost.values()).count(job.asked_now) >= self._size
        return job.skip_primary if crowded and job.falls_back_next else job.run

    def _watch_for(self, expires: float) -> None:
        if expires < self._wake_at:
            self._alarm.set()

    def finished(self, worker: Worker, cause: TwinFailed | None) -> tuple[bool, Task | None]:
        """Called by a worker that is done: whether it stays, and what it goes on with; nothing means to wait.

        With a `cause`, its job is to fall back.
        """
        with self._lock:
            job, worker.job = worker.job, None
            self._leave_fallback(worker)
            if cause is not None and job is not None:
                self._line.add_failed(job, cause)
            if self._lost.pop(worker, None) is not None:
                self._workers.discard(worker)
                return False, None
            task = self._next(worker)
            if task is None:
                self._idle.append(worker)
                if self._line.has_failed:
                    self._alarm.set()
                return True, None
        assert worker.job is not None
        self._watch_for(worker.job.expires)
        return True, task

    def _next(self, worker: Worker) -> Task | None:
        taken = self._line.take()
        if taken is not None:
            return self._task(worker, *taken)
        job = self._gather.take(self._calls - 1)
        return self._task(worker, job) if job is not None else None

    def _leave_fallback(self, worker: Worker) -> None:
        """This thread's call keeps no other one from falling back."""
        self._line.falling_back -= worker.falls_back
        worker.falls_back = False

    def abandon(self, twin: str) -> None:
        """This twin is gone: whoever waits for it turns to the other one now. Triton would tell them one by one."""
        now = time.monotonic()
        waiting = [job for worker in list(self._workers) if (job := worker.job) is not None]
        if any([job.abandon(twin, now) for job in waiting]):
            self._alarm.set()

    def forgive(self, twin: str) -> None:
        """This twin is well again: calls of before that hang say nothing of it, while there are threads to lose."""
        with self._lock:
            # One hang may keep more than `size`: threads that take over ask that twin too, until its breaker opens.
            if 2 * len(self._lost) <= 3 * self._size:
                self._lost.update({worker: "" for worker, keeper in self._lost.items() if keeper == twin})

    def drain(self, timeout_s: float) -> None:
        """Wait until all is answered, then end the threads; what is left after the timeout is answered by an error."""
        end = time.monotonic() + timeout_s
        while (len(self._idle) < self._size or self._line or self._gather) and time.monotonic() < end:
            time.sleep(_DRAIN_STEP_S)
        self._ended = True
        self._alarm.set()
        with self._lock:
            held = [*(job for job, _ in self._line.take_overdue(math.inf)), *self._gather.take_all()]
            left = [*held, *(worker.job for worker in self._workers)]
        for job in filter(None, left):
            job.answer(TwinFailed("the hybrid", "it is being unloaded", "gone"))
        while self._idle:
            self._idle.pop().give(None)

    def _watch(self) -> None:
        while not self._ended:
            # A job that comes while we look must ring, however late it expires: we may have missed it.
            self._wake_at = math.inf
            self._alarm.clear()
            now = time.monotonic()
            try:
                nearest = self._look(now)
            # Without this thread no deadline would be kept any more.
            except Exception as error:  # noqa: BLE001
                self._note(f"the watch over deadlines goes on after {type(error).__name__}: {error}")
                nearest = now + _LOOK_BACK_S
            self._wake_at = nearest
            self._alarm.wait(max(0.0, nearest - time.monotonic()))

    def _look(self, now: float) -> float:
        """See to all whose time is up; gives when to look again."""
        nearest = now + _LOOK_S
        for worker in list(self._workers):
            job = worker.job
            if job is not None:
                if now >= job.expires:
                    self._expire(worker, job, now)
                nearest = min(nearest, job.expires)
        if self._start_waiting(now):
            nearest = min(nearest, now + _LOOK_BACK_S)
        return min(nearest, self._pass_deadlines(now))

    def _pass_deadlines(self, now: float) -> float:
        """Answer those that waited too long for a thread; gives when that is so of the next one, or of one held."""
        with self._lock:
            over = self._line.take_overdue(now)
            nearest = min(self._line.nearest_deadline, self._gather.next_overdue)
        for job, cause in over:
            job.pass_deadline_in_line(cause)
        return nearest

    def _start_waiting(self, now: float) -> bool:
        """Let idle threads take what nobody else hands them; gives whether jobs that failed still wait.

        What was held for too long waits in the line where no thread is idle: there it has its turn, and its deadline.
        """
        given = []
        with self._lock:
            while self._idle and (taken := self._line.take()):
                worker = self._idle.pop()
                given.append((worker, self._task(worker, *taken)))
            while job := self._gather.overdue(now):
                if self._idle:
                    worker = self._idle.pop()
                    given.append((worker, self._task(worker, job)))
                else:
                    self._line.add_late(job)
        for worker, task in given:
            # This very look may be past them: another one sees when their time is up.
            self._alarm.set()
            worker.give(task)
        return self._line.has_failed

    def _expire(self, worker: Worker, job: Job, now: float) -> None:
        twin = job.asked_now
        if now >= job.deadline:
            job.pass_deadline(now)
            self._replace(worker, job, twin)
        elif job.turn():
            cause = job.late(now)
            if not self._replace(worker, job, twin, cause):
                job.answer(
                    TwinFailed("the hybrid", f"no thread is left; {self.lost} late calls have not returned", "crowded")
                )
        else:
            # Its thread took the turn just before it was abandoned.
            job.expires = job.deadline

    def _replace(self, worker: Worker, job: Job, twin: str, cause: TwinFailed | None = None) -> bool:
        """Let another thread take the place of `worker`, which `twin` keeps; with a `cause`, its job is to fall back.

        Gives False where too many are lost already, or the machine has no thread left to give.
        """
        # Only this thread adds to those that are lost.
        extra = another_worker(self.finished, self._note) if len(self._lost) < 3 * self._size else None
        if extra is None:
            return False
        task = None
        with self._lock:
            back = worker.job is not job
            if cause is not None:
                self._line.add_failed(job, cause)
            if not back:
                # Calls to a twin that is gone say nothing of the one that takes its place.
                self._lost[worker] = "" if cause is not None and cause.kind == "gone" else twin
                self._leave_fallback(worker)
                self._workers.discard(worker)
                self._workers.add(extra)
                task = self._next(extra)
                if task is None:
                    self._idle.append(extra)
        # It may have come back in this very moment, and gone on: then the other thread ends.
        if back or task is not None:
            self._alarm.set()
            extra.give(task)
        return True
