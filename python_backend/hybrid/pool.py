"""The hybrid's own threads: a bounded number that ask the twins, and one that watches the time.

A call to a twin cannot be interrupted. One that is late keeps its thread until it returns, so another thread takes over
what is left to do; the number of threads that are lost in this way is bounded as well.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable

from .errors import TwinFailed
from .gather import Gather
from .jobs import Job

# How often the watchdog looks although no time of a job is up: it is not woken for a job that expires later than that.
_LOOK_S = 1.0
_DRAIN_STEP_S = 0.02

Task = Callable[[], None]


class _Worker(threading.Thread):
    """Waits for a job, does it, and waits again. A lock is the cheapest way to wake one thread."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(daemon=True)
        self._pool = pool
        self._wake = threading.Lock()
        self._wake.acquire()
        self._task: Task | None = None
        self.job: Job | None = None

    def give(self, job: Job | None, task: Task | None) -> None:
        """Wake it with something to do; without a task it ends."""
        self.job = job
        self._task = task
        self._wake.release()

    def run(self) -> None:
        task: Task | None = None
        while True:
            if task is None:
                self._wake.acquire()
                task, self._task = self._task, None
                if task is None:
                    return
            try:
                task()
            # A caller without an answer would wait for ever: whatever went wrong here is one.
            except Exception as error:  # noqa: BLE001
                if self.job is not None:
                    self.job.answer(TwinFailed("the hybrid", f"{type(error).__name__}: {error}"))
            # Nothing may keep the request's memory alive while the thread waits.
            task = None
            stays, task = self._pool.finished(self)
            if not stays:
                return


class Pool:
    """`size` threads for jobs, and up to twice as many more in place of those that late twins keep."""

    def __init__(self, size: int, gather: Gather) -> None:
        self._size = size
        self._gather = gather
        self._lock = threading.Lock()
        self._workers = {_Worker(self) for _ in range(size)}
        # The last one to fall idle is woken first: what it needs is still in the processor's caches.
        self._idle = list(self._workers)
        self._waiting: deque[Job] = deque()
        self._lost: dict[_Worker, str] = {}
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
            if len(jobs) == 1 and self._gather.has_time(self._calls):
                ready = [*jobs]
            else:
                ready = [full for job in jobs for full in self._gather.add(job)]
                while (held := self._gather.take(self._calls + len(ready))) is not None:
                    ready.append(held)
            started = [(self._idle.pop(), job) for job in ready[: len(self._idle)]]
            self._waiting.extend(ready[len(started) :])
        tasks = [(worker, job, self._task(job)) for worker, job in started]
        for job in ready:
            self._watch_for(job)
        # Last, since a thread that is woken takes turns with this one from then on.
        for worker, job, task in tasks:
            worker.give(job, task)

    @property
    def _calls(self) -> int:
        return self._size - len(self._idle)

    def _task(self, job: Job) -> Task:
        """What a thread does for a job that it takes up. A twin that keeps half as many threads is not asked."""
        now = time.monotonic()
        if now >= job.deadline:
            return job.pass_deadline
        job.begin(now)
        crowded = bool(self._lost) and 2 * list(self._lost.values()).count(job.asked_now) >= self._size
        return job.skip_primary if crowded and job.falls_back_next else job.run

    def _watch_for(self, job: Job) -> None:
        if job.expires < self._wake_at:
            self._alarm.set()

    def finished(self, worker: _Worker) -> tuple[bool, Task | None]:
        """Called by a worker that is done: whether it stays, and what it goes on with; nothing means to wait."""
        with self._lock:
            worker.job = None
            if self._lost.pop(worker, None) is not None:
                self._workers.discard(worker)
                return False, None
            job = worker.job = self._waiting.popleft() if self._waiting else self._gather.take(self._calls - 1)
            if job is None:
                self._idle.append(worker)
                return True, None
        task = self._task(job)
        self._watch_for(job)
        return True, task

    def abandon(self, twin: str) -> None:
        """This twin is gone: whoever waits for it turns to the other one now. Triton would tell them one by one."""
        now = time.monotonic()
        waiting = [job for worker in list(self._workers) if (job := worker.job) is not None]
        if any([job.abandon(twin, now) for job in waiting]):
            self._alarm.set()

    def drain(self, timeout_s: float) -> None:
        """Wait until all is answered, then end the threads; what is left after the timeout is answered by an error."""
        end = time.monotonic() + timeout_s
        while len(self._idle) < self._size and time.monotonic() < end:
            time.sleep(_DRAIN_STEP_S)
        self._ended = True
        self._alarm.set()
        with self._lock:
            left, self._waiting = [*self._waiting, *(worker.job for worker in self._workers)], deque()
        for job in filter(None, left):
            job.answer(TwinFailed("the hybrid", "it is being unloaded", "gone"))
        while self._idle:
            self._idle.pop().give(None, None)

    def _watch(self) -> None:
        while not self._ended:
            # A job that comes while we look must ring, however late it expires: we may have missed it.
            self._wake_at = math.inf
            self._alarm.clear()
            now = time.monotonic()
            nearest = now + _LOOK_S
            for worker in list(self._workers):
                job = worker.job
                if job is not None:
                    if now >= job.expires:
                        self._expire(worker, job)
                    nearest = min(nearest, job.expires)
            nearest = min(nearest, self._pass_deadlines(now))
            self._send_overdue(now)
            self._wake_at = nearest
            self._alarm.wait(max(0.0, nearest - time.monotonic()))

    def _pass_deadlines(self, now: float) -> float:
        """Answer those that waited too long for a thread; gives when that is so of the next one."""
        with self._lock:
            over = [job for job in self._waiting if now >= job.deadline]
            for job in over:
                self._waiting.remove(job)
            nearest = min((job.deadline for job in self._waiting), default=math.inf)
        for job in over:
            job.pass_deadline()
        return nearest

    def _send_overdue(self, now: float) -> None:
        with self._lock:
            while self._idle and (job := self._gather.overdue(now)):
                self._idle.pop().give(job, self._task(job))

    def _expire(self, worker: _Worker, job: Job) -> None:
        twin = job.asked_now
        if not job.falls_back_next:
            job.pass_deadline()
            self._replace(worker, job, twin, lambda: None)
        elif job.turn():
            cause = job.late()
            if not self._replace(worker, job, twin, lambda: job.fall_back(cause)):
                job.answer(TwinFailed("the hybrid", f"{self.lost} late calls have not returned", "crowded"))

    def _replace(self, worker: _Worker, job: Job, twin: str, task: Task) -> bool:
        """Let another thread take the place of `worker`, which `twin` keeps, and do what is left of its job."""
        extra = _Worker(self)
        with self._lock:
            if worker.job is not job:
                # It came back in this very moment; one thread more for this one task does no harm.
                self._lost[extra] = twin
            elif len(self._lost) >= 2 * self._size:
                return False
            else:
                self._lost[worker] = twin
                self._workers.discard(worker)
            self._workers.add(extra)
        extra.start()
        extra.give(job, task)
        return True
