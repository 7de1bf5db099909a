"""What waits without a thread: it has its turn and its deadline all the same."""

import gc
import threading
import time
import weakref
from dataclasses import replace

import pytest

from python_backend.hybrid.errors import DeadlinePassed, TwinFailed
from python_backend.hybrid.gather import PATIENT_S, Gather
from python_backend.hybrid.jobs import Job
from python_backend.hybrid.line import Line
from python_backend.hybrid.pool import Pool
from python_backend.hybrid.router import Router
from python_backend.hybrid.worker import Worker

from .conftest import batch_of, refuses
from .test_pool import Callers, Slow, count, one, submit, wait_until


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


def test_what_is_held_goes_to_an_idle_thread_as_soon_as_it_was_held_too_long(monkeypatch, router, twins):
    """Not at the next of the looks that come whatever happens: they know nothing of it."""
    monkeypatch.setattr("python_backend.hybrid.pool._LOOK_S", 30.0)
    slow, pool, callers = Slow(), Pool(4, Gather(8, 1), 2), Callers()
    twins.faults["onnx"] = lambda batch, outputs: slow(batch, outputs) if batch.request == (1,) else outputs
    for value in (1, 2):
        pool.submit(Job(batch_of(value), router, callers, time.monotonic(), lambda batch: "a"))
    answer, after_s = one(callers.wait(1)[(2,)])
    assert answer.served_by == "onnx"
    # The call that it waits behind is late after 5 s.
    assert PATIENT_S / 2 <= after_s < 4
    slow.go.set()
    pool.drain(5.0)


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


def test_where_no_more_threads_can_be_started_deadlines_are_kept_all_the_same(monkeypatch, router, twins):
    """As where a container is at its limit of processes."""

    def start(self):
        raise RuntimeError("can't start new thread")

    told, callers, slow = [], Callers(), Slow()
    pool = Pool(4, Gather(8, 4), 2, told.append)
    twins.faults["onnx"] = slow
    with monkeypatch.context() as patch:
        patch.setattr(Worker, "start", start)
        for value in range(2):
            pool.submit(Job(batch_of(value, primary_budget_s=0.1), router, callers, time.monotonic()))
            answer, after_s = one(callers.wait(value + 1)[(value,)])
            assert isinstance(answer, TwinFailed)
            assert after_s < 4.5
    assert told == ["no thread can take the place of a late one: can't start new thread"] * 2
    assert not pool.lost
    slow.go.set()
    del twins.faults["onnx"]
    for value in range(4, 12):
        pool.submit(Job(batch_of(value), router, callers, time.monotonic()))
    assert all(one(callers.wait(10)[(value,)])[0].served_by == "onnx" for value in range(4, 12))
    pool.drain(5.0)
    assert not pool._line.falling_back


def test_the_watch_over_deadlines_outlives_what_nobody_foresaw(router, twins):
    def deliver(batch, answer):
        raise ZeroDivisionError("a bug")

    told, callers, slow = [], Callers(), Slow()
    pool = Pool(4, Gather(8, 4), 2, told.append)
    twins.faults = {"onnx": slow, "original": slow}
    pool.submit(Job(batch_of(1, deadline_s=0.2, primary_budget_s=0.1), router, deliver, time.monotonic()))
    while not told:
        time.sleep(0.01)
    assert told == ["the watch over deadlines goes on after ZeroDivisionError: a bug"]
    pool.submit(Job(batch_of(2, deadline_s=0.2, primary_budget_s=0.1), router, callers, time.monotonic()))
    assert isinstance(one(callers.wait(1)[(2,)])[0], DeadlinePassed)
    slow.go.set()
    pool.drain(5.0)


@pytest.mark.parametrize("fallback_enabled", [True, False])
def test_what_the_watchdog_starts_itself_has_its_deadline_too(monkeypatch, settings, twins, fallback_enabled):
    """In place of a call that hangs, or to fall back: the look that starts it is past it already."""
    monkeypatch.setattr("python_backend.hybrid.pool._LOOK_S", 30.0)
    router = Router(replace(settings, fallback_enabled=fallback_enabled), twins, time.monotonic)
    pool, callers, slow = Pool(1, Gather(8, 1), 1), Callers(), Slow()
    twins.faults = {"onnx": slow, "original": slow}
    for value, deadline_s in ((1, 0.6), (2, 0.9)):
        wishes = {"deadline_s": deadline_s, "primary_budget_s": 0.2}
        pool.submit(Job(batch_of(value, **wishes), router, callers, time.monotonic()))
    for answers in callers.wait(2, timeout_s=4.5).values():
        assert isinstance(one(answers)[0], DeadlinePassed)
    slow.go.set()
    pool.drain(5.0)


def test_a_thread_that_waits_keeps_no_request_that_failed(settings, twins):
    """Its inputs lie in shared memory, and the thread may wait for hours."""
    router, callers, pool = Router(settings, twins, time.monotonic), Callers(), Pool(4, Gather(8, 8), 2)
    slow, made = Slow(), []
    twins.faults = {"onnx": refuses, "original": slow}
    for value in range(3):
        batch = batch_of(value)
        made.append(weakref.ref(batch.inputs()["x"]))
        submit(pool, router, callers, batch)
    del batch
    wait_until(lambda: count(twins, "original") == 2)
    slow.go.set()
    callers.wait(3)
    wait_until(lambda: len(pool._idle) == 4)
    twins.calls.clear()
    callers.answers.clear()
    gc.collect()
    assert [ref() for ref in made] == [None] * 3
    pool.drain(5.0)
