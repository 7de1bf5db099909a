"""Which requests share a call, and that none is held for ever."""

import threading
import time

import pytest

from python_backend.hybrid.gather import PATIENT_S, Gather
from python_backend.hybrid.jobs import Job
from python_backend.hybrid.pool import Pool
from python_backend.hybrid.router import Router

from .conftest import batch_of
from .test_pool import Callers, Slow


def job_of(router, *values, kind="a", now=0.0, **wishes):
    return Job(batch_of(*values, **wishes), router, lambda batch, answer: None, now, lambda batch: kind)


def rows_of(jobs):
    return [[row for member in job.batch.members for row in member.request] for job in jobs]


@pytest.fixture
def router(settings, twins):
    return Router(settings, twins, time.monotonic)


def test_a_full_call_goes_at_once_and_the_rest_waits(router):
    gather = Gather(max_rows=3, eager_calls=1)
    assert rows_of(gather.add(job_of(router, 1))) == []
    assert rows_of(gather.add(job_of(router, 2, 3))) == [[1, 2, 3]]
    assert rows_of(gather.add(job_of(router, 4, 5))) == []
    assert rows_of(gather.add(job_of(router, 6, 7))) == [[4, 5]], "six and seven did not fit"
    assert rows_of([gather.take(0)]) == [[6, 7]]
    assert gather.take(0) is None


def test_only_its_own_kind_joins_a_call(router):
    gather = Gather(max_rows=2, eager_calls=1)
    assert rows_of(gather.add(job_of(router, 1, kind="a"))) == []
    assert rows_of(gather.add(job_of(router, 2, kind="b"))) == []
    assert rows_of(gather.add(job_of(router, 3, kind=None))) == [[3]]
    assert rows_of(gather.add(job_of(router, 4, kind="b"))) == [[2, 4]]
    assert rows_of([gather.take(0)]) == [[1]]


def test_nobody_waits_while_the_twin_has_time(router):
    gather = Gather(max_rows=8, eager_calls=2)
    list(gather.add(job_of(router, 1)))
    assert gather.take(2) is None
    assert rows_of([gather.take(1)]) == [[1]]


def test_for_the_other_twin_requests_share_the_few_calls_that_may_fall_back(router):
    gather = Gather(max_rows=8, eager_calls=16, fallback_calls=2)
    assert gather.has_time(job_of(router, 1), 15)
    router.quarantine("onnx", "it differs")
    assert gather.has_time(job_of(router, 1), 1)
    assert not gather.has_time(job_of(router, 1), 2)
    for value in (1, 2):
        assert rows_of(gather.add(job_of(router, value))) == []
    assert gather.take(2) is None
    assert rows_of([gather.take(1)]) == [[1, 2]]
    assert gather.has_time(job_of(router, 1, prefer="original"), 15)


def test_who_waits_for_the_other_twin_keeps_nobody_else_waiting(router):
    gather = Gather(max_rows=8, eager_calls=16, fallback_calls=2)
    router.quarantine("onnx", "it differs")
    assert rows_of(gather.add(job_of(router, 1))) == []
    assert rows_of(gather.add(job_of(router, 2, kind="b", prefer="original"))) == []
    assert rows_of([gather.take(15)]) == [[2]]
    assert gather.take(15) is None


def test_who_is_in_a_hurry_is_not_held_and_nobody_for_long(router):
    gather = Gather(max_rows=8, eager_calls=1)
    assert rows_of(gather.add(job_of(router, 1, primary_budget_s=PATIENT_S / 2))) == [[1]]
    list(gather.add(job_of(router, 2, now=10.0)))
    assert gather.overdue(10.0 + PATIENT_S / 4) is None
    assert rows_of([gather.overdue(10.0 + PATIENT_S / 2)]) == [[2]]


def test_requests_that_come_while_the_twin_is_busy_share_the_next_call(router, twins):
    slow = twins.faults["onnx"] = Slow()
    pool, callers = Pool(4, Gather(8, 1), 2), Callers()
    for value in range(5):
        pool.submit(Job(batch_of(value), router, callers, time.monotonic(), lambda batch: "a"))
    slow.go.set()
    answers = callers.wait(5)
    pool.drain(5.0)
    assert twins.calls == [("onnx", [0]), ("onnx", [1, 2, 3, 4])]
    for (value,), ((answer, _),) in answers.items():
        assert answer.outputs["y"][:, 0].tolist() == [2 * value]


def test_what_is_held_goes_although_the_call_before_it_hangs(router, twins):
    gone, go = threading.Event(), threading.Event()

    def hangs_once(batch, outputs):
        if not gone.is_set():
            gone.set()
            go.wait(60)
        return outputs

    twins.faults["onnx"] = hangs_once
    pool, callers = Pool(4, Gather(8, 1), 2), Callers()
    pool.submit(Job(batch_of(1), router, callers, time.monotonic(), lambda batch: "a"))
    gone.wait(5)
    pool.submit(Job(batch_of(2), router, callers, time.monotonic(), lambda batch: "a"))
    ((_, after_s),) = callers.wait(1)[(2,)]
    # The budget of the call that hangs, which ends it too, is 5 s.
    assert PATIENT_S / 2 <= after_s < 4.5
    go.set()
    callers.wait(2)
    pool.drain(5.0)
