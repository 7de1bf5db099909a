"""The hybrid's own threads: a bounded number that ask the twins, and one that watches the time.

A call to a twin cannot be interrupted. One that is late keeps its thread until it returns, so another thread takes over
what is left to do; the number of threads that are lost in this way is bounded as well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .errors import TwinFailed
from .jobs import Job

# How exactly budgets and deadlines are kept. A shorter tick wakes the process more often for nothing.
TICK_S = 0.02

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
        while True:
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
            del task
            if not self._pool.finished(self):
                return


class Pool:
    """`size` threads for jobs, and up to as many more in place of those that a late twin keeps."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._free = threading.Semaphore(size)
        self._workers = {_Worker(self) for _ in range(size)}
        self._idle = list(self._workers)
        self._lost: set[_Worker] = set()
        self._busy = threading.Event()
        self._ended = False
        self._watchdog = threading.Thread(target=self._watch, daemon=True)
        for thread in (*self._workers, self._watchdog):
            thread.start()

    @property
    def lost(self) -> int:
        """The number of threads whose call is late and has not returned."""
        return len(self._lost)

    def submit(self, job: Job) -> None:
        """Hand a job to a thread that is free; waits for one where none is, so that Triton does the queueing."""
        self._free.acquire()
        with self._lock:
            worker = self._idle.pop()
        worker.give(job, job.run)
        if not self._busy.is_set():
            self._busy.set()

    def finished(self, worker: _Worker) -> bool:
        """Called by a worker that is done: True where it is to wait for more."""
        with self._lock:
            worker.job = None
            if worker in self._lost:
                self._lost.remove(worker)
                self._workers.discard(worker)
                return False
            self._idle.append(worker)
        self._free.release()
        return True

    def drain(self, timeout_s: float) -> None:
        """Wait until all is answered, then end the threads; what is left after the timeout is answered by an error."""
        end = time.monotonic() + timeout_s
        while len(self._idle) < self._size and time.monotonic() < end:
            time.sleep(TICK_S)
        self._ended = True
        self._busy.set()
        for worker in list(self._workers):
            job = worker.job
            if job is not None:
                job.answer(TwinFailed("the hybrid", "it is being unloaded", unavailable=True))
        while self._idle:
            self._idle.pop().give(None, None)

    def _watch(self) -> None:
        while not self._ended:
            self._busy.wait()
            time.sleep(TICK_S)
            now = time.monotonic()
            jobs = [(worker, job) for worker in list(self._workers) if (job := worker.job) is not None]
            if not jobs:
                self._busy.clear()
                # A job may have come between the look and the clearing.
                if any(worker.job is not None for worker in list(self._workers)):
                    self._busy.set()
            for worker, job in jobs:
                if now >= job.expires:
                    self._expire(worker, job)

    def _expire(self, worker: _Worker, job: Job) -> None:
        if not job.falls_back_next:
            job.pass_deadline()
            self._replace(worker, job, lambda: None)
            return
        if job.turn():
            cause = job.late()
            if not self._replace(worker, job, lambda: job.fall_back(cause)):
                job.answer(TwinFailed("the hybrid", f"{self._size} late calls have not returned", unavailable=True))

    def _replace(self, worker: _Worker, job: Job, task: Task) -> bool:
        """Let another thread take the place of `worker`, which a late twin keeps, and do what is left of its job."""
        with self._lock:
            if worker.job is not job:
                # It came back in this very moment; one thread more for this one task does no harm.
                extra = _Worker(self)
                self._lost.add(extra)
            elif len(self._lost) >= self._size:
                return False
            else:
                self._lost.add(worker)
                self._workers.discard(worker)
                extra = _Worker(self)
            self._workers.add(extra)
        extra.start()
        extra.give(job, task)
        return True
