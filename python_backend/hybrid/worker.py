"""One of the hybrid's threads: it waits until it is given a task, and then does one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .errors import TwinFailed
from .jobs import Job

# What a thread does. It gives why the fallback is to be asked for the job; None where it is not.
Task = Callable[[], "TwinFailed | None"]
# Called by a worker that is done, with what its task gave: whether it stays, and what it goes on with.
Finished = Callable[["Worker", "TwinFailed | None"], "tuple[bool, Task | None]"]


class Worker(threading.Thread):
    """Waits for a job, does it, and waits again. A lock is the cheapest way to wake one thread."""

    def __init__(self, finished: Finished) -> None:
        super().__init__(daemon=True)
        self._finished = finished
        self._wake = threading.Lock()
        self._wake.acquire()
        self._task: Task | None = None
        self.job: Job | None = None
        self.falls_back = False

    def give(self, task: Task | None) -> None:
        """Wake it with something to do, for `job`; without a task it ends."""
        self._task = task
        self._wake.release()

    def run(self) -> None:
        """Do what is given, until nothing is given or the pool lets this thread go."""
        task: Task | None = None
        while True:
            if task is None:
                self._wake.acquire()
                task, self._task = self._task, None
                if task is None:
                    return
            cause = None
            try:
                cause = task()
            # A caller without an answer would wait for ever: whatever went wrong here is one.
            except Exception as error:  # noqa: BLE001
                if self.job is not None:
                    self.job.answer(TwinFailed("the hybrid", f"{type(error).__name__}: {error}"))
            # Nothing may keep the request's memory alive while the thread waits.
            task = None
            stays, task = self._finished(self, cause)
            cause = None
            if not stays:
                return


def another_worker(finished: Finished, note: Callable[[str], None]) -> Worker | None:
    """One more thread, which waits; None, of which `note` hears, where the machine has none left."""
    extra = Worker(finished)
    try:
        extra.start()
    except RuntimeError as error:
        note(f"no thread can take the place of a late one: {error}")
        return None
    return extra
