"""The load generator's place in the queue for a processor."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def ahead_of_the_server() -> Iterator[bool]:
    """Run this thread, and threads that it starts, before all ordinary ones; gives False where that is not allowed.

    On a machine that the server keeps busy, Linux lets a generator that sleeps most of the time wait up to 200 ms for a
    processor: the answers are there, but nobody reads them, and p99 tells of the generator instead of the server.
    Processes that are started inside would inherit the priority.
    """
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, *before)
