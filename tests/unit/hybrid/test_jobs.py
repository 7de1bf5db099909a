"""Who is to blame where callers give a twin less time than the model does."""

import time
from dataclasses import replace

import pytest

from python_backend.hybrid.breaker import State
from python_backend.hybrid.errors import TwinFailed
from python_backend.hybrid.gather import Gather
from python_backend.hybrid.jobs import Job
from python_backend.hybrid.pool import Pool
from python_backend.hybrid.router import Router

from .conftest import batch_of, down, refuses
from .test_pool import Callers, Slow, count, one, submit, wait_until


@pytest.fixture
def pool():
    made = Pool(8, Gather(8, 8), 8)
    yield made
    made.drain(5.0)


def test_callers_that_give_little_time_blame_neither_twin(pool, settings, twins):
    """Both take 0.2 s, which the model allows many times; nobody else may be sent away for their sake."""
    router, callers = Router(settings, twins, time.monotonic), Callers()
    twins.faults = {"onnx": Slow(0.2), "original": Slow(0.2)}
    for value in range(6):
        submit(pool, router, callers, batch_of(value, deadline_s=0.1, primary_budget_s=0.05))
        callers.wait(value + 1)
        time.sleep(0.3)
        wait_until(lambda: not pool.lost)
    assert all(isinstance(one(answers)[0], Exception) for answers in callers.wait(6).values())
    assert {breaker.state for breaker in router.breakers.values()} == {State.CLOSED}
    submit(pool, router, callers, batch_of(9))
    assert one(callers.wait(7)[(9,)])[0].served_by == "onnx"


@pytest.mark.parametrize("fallback_enabled", [True, False])
def test_a_twin_that_hangs_is_to_blame_once_the_time_that_the_model_gives_it_is_up(
    pool, settings, twins, fallback_enabled
):
    patient = replace(settings, deadline_s=2.0, primary_budget_s=1.0, fallback_enabled=fallback_enabled)
    router, callers = Router(patient, twins, time.monotonic), Callers()
    slow = twins.faults["onnx"] = Slow()
    started = time.monotonic()
    for value in range(3):
        submit(pool, router, callers, batch_of(value, deadline_s=0.2, primary_budget_s=0.1))
    callers.wait(3)
    assert router.breakers["onnx"].state is State.CLOSED
    wait_until(lambda: router.breakers["onnx"].state is State.OPEN)
    assert time.monotonic() - started >= 0.9 * (1.0 if fallback_enabled else 2.0)
    slow.go.set()


def test_a_probe_closes_the_breaker_although_its_caller_had_gone(pool, settings, twins):
    """Both twins were away, so requests find out by themselves; the only ones give them less time than they take."""
    router, callers = Router(settings, twins, time.monotonic), Callers()
    twins.faults = {"onnx": down, "original": down}
    submit(pool, router, callers, batch_of(0))
    callers.wait(1)
    twins.faults = {"onnx": Slow(0.2), "original": Slow(0.2)}
    wait_until(lambda: router.admits("onnx"))
    submit(pool, router, callers, batch_of(1, deadline_s=0.1, primary_budget_s=0.05))
    wait_until(lambda: router.breakers["onnx"].state is State.CLOSED)


def test_a_call_that_fails_when_nobody_waits_for_it_says_nothing_later_on(pool, settings, twins):
    router, callers = Router(settings, twins, time.monotonic), Callers()

    def refuses_late(batch, outputs):
        time.sleep(0.2)
        refuses(batch, outputs)

    twins.faults["onnx"] = refuses_late
    job = Job(batch_of(1, deadline_s=1.0, primary_budget_s=0.05), router, callers, time.monotonic())
    pool.submit(job)
    assert one(callers.wait(1)[(1,)])[0].served_by == "original"
    wait_until(lambda: not pool.lost)
    job.blame(time.monotonic() + 60.0)
    assert router.breakers["onnx"]._failed_in_a_row == 0
    assert count(twins, "onnx") == 1


def test_a_fallback_alone_is_blamed_for_its_own_lateness(settings, twins):
    router, callers = Router(settings, twins, time.monotonic), Callers()
    twins.faults["onnx"] = refuses
    job = Job(batch_of(1), router, callers, now := time.monotonic())
    job.begin(now)
    cause = job.run()
    assert isinstance(cause, TwinFailed)
    ticket = router.breakers["original"].admit()
    job._tickets["original"] = ticket
    job.begin_fallback(now + 9.0)
    job.pass_deadline(now + 10.0)
    assert not ticket.told, "it had one second of the five that the model gives it"
    assert job.blame(now + 13.0) == pytest.approx(now + 13.5)
    assert job.blame(now + 14.0) == float("inf")
    assert ticket.told
