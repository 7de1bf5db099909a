"""What waits without a thread: it has its turn and its deadline all the same."""

import threading
import time

import pytest

from python_backend.hybrid.errors import DeadlinePassed, TwinFailed
from python_backend.hybrid.gather import PATIENT_S, Gather
from python_backend.hybrid.jobs import Job
from python_backend.hybrid.line import Line
from python_backend.hybrid.pool import Pool
from python_backend.hybrid.router import Router

from .conftest import batch_of, refuses
from .test_pool import Callers, Slow, one


@pytest.fixture
def router(settings, twins):
    return Router(settings, twins, time.monotonic)


def test_what_is_held_has_its_turn_although_no_thread_is_ever_idle(router, twins):
    twins.faults["onnx"] = Slow(0.02)
    pool, callers, stop = Pool(2, Gather(4, 1), 1), Callers(), threading.Event()

    def again(*_):
        if not stop.is_set():
            pool.submit(Job(batch_of(1), router, again, time.monotonic()))

    for _ in range(8):
        again()
    try:
        pool.submit(Job(batch_of(2), router, callers, time.monotonic(), lambda batch: "rare"))
        answer, after_s = one(callers.wait(1, timeout_s=4 * PATIENT_S)[(2,)])
    finally:
        stop.set()
        pool.drain(5.0)
    assert answer.served_by == "onnx"
    assert after_s >= PATIENT_S / 2, "it was held"


def test_in_the_line_what_was_held_comes_before_those_that_came_after_it(router):
    line = Line(1)
    jobs = [Job(batch_of(number), router, lambda *_: None, float(number)) for number in range(4)]
    line.add([jobs[0], jobs[2], jobs[3]])
    line.add_late(jobs[1])
    assert [line.take()[0] for _ in jobs] == jobs


def test_draining_answers_what_is_held_too(router, twins):
    slow = twins.faults["onnx"] = Slow()
    pool, callers = Pool(2, Gather(8, 1), 1), Callers()
    for value in range(3):
        pool.submit(Job(batch_of(value), router, callers, time.monotonic(), lambda batch: "a"))
    pool.drain(0.1)
    assert all("being unloaded" in str(one(answers)[0]) for answers in callers.wait(3).values())
    slow.go.set()


def test_a_job_that_is_abandoned_just_after_it_turned_away_waits_for_its_deadline(router):
    """Else the watchdog would look at it all the time, and take a processor for that."""
    job = Job(batch_of(1), router, lambda *_: None, time.monotonic())
    job.begin(time.monotonic())
    assert job.turn()
    job.expires = time.monotonic()
    pool = Pool(1, Gather(8, 1), 1)
    pool._expire(next(iter(pool._workers)), job, time.monotonic())
    assert job.expires == job.deadline
    pool.drain(5.0)


def test_after_the_deadline_no_twin_is_asked_for_those_that_nobody_waits_for(router, twins):
    def refuses_late(batch, outputs):
        time.sleep(0.2)
        refuses(batch, outputs)

    twins.faults = {"onnx": refuses_late, "original": refuses_late}
    pool, callers = Pool(1, Gather(8, 1), 1), Callers()
    wishes = {"deadline_s": 1.0, "primary_budget_s": 0.5}
    jobs = [Job(batch_of(value, **wishes), router, callers, time.monotonic()) for value in range(8)]
    pool.submit(jobs[0].joined(jobs[1:]))
    answers = callers.wait(8)
    pool.drain(20.0)
    while pool.lost:
        time.sleep(0.01)
    assert any(isinstance(one(each)[0], DeadlinePassed | TwinFailed) for each in answers.values())
    assert len(twins.calls) < 2 * (1 + len(jobs))
