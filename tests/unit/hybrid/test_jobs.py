"""Who is to blame where callers give a twin less time than the model does, who waits for rows, and what counts."""

import time
from dataclasses import replace

import pytest

from python_backend.hybrid.breaker import State
from python_backend.hybrid.errors import BothFailed, DeadlinePassed, TwinFailed
from python_backend.hybrid.gather import Gather
from python_backend.hybrid.jobs import Job
from python_backend.hybrid.pool import Pool
from python_backend.hybrid.router import Router
from python_backend.hybrid.tally import Tally

from .conftest import batch_of, down, refuses
from .test_pool import Callers, Slow, count, one, submit, wait_until
from .test_router import nan_where


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
def test_a_twin_that_hangs_is_to_blame_once_it_had_twice_what_it_needs(pool, settings, twins, fallback_enabled):
    """Callers in a hurry tell of it as well: threads that wait for it are not to be used up meanwhile."""
    router, callers = Router(replace(settings, fallback_enabled=fallback_enabled), twins, time.monotonic), Callers()
    submit(pool, router, callers, batch_of(0))
    callers.wait(1)
    slow = twins.faults["onnx"] = Slow()
    for value in range(1, 4):
        submit(pool, router, callers, batch_of(value, deadline_s=0.4, primary_budget_s=0.2))
    callers.wait(4)
    wait_until(lambda: router.breakers["onnx"].state is State.OPEN)
    slow.go.set()


def test_a_twin_that_hangs_is_to_blame_once_the_time_that_the_model_gives_it_is_up(settings, twins, clock):
    router = Router(replace(settings, deadline_s=2.0, primary_budget_s=1.2), twins, clock)
    router.pace.add("onnx", 1.0)
    router.pace.add("original", 1.0)
    assert [router.is_late("onnx", took_s, 0.1, first=True) for took_s in (1.0, 1.1)] == [False, True]
    # What is left of the deadline may be less than it would have as the first one.
    assert [router.is_late("original", took_s, 0.1, first=False) for took_s in (1.0, 1.1)] == [False, True]


def test_a_probe_closes_the_breaker_although_its_caller_had_gone(pool, settings, twins):
    """Both twins were away, so requests find out by themselves; the only ones give them less time than they take."""
    router, callers = Router(settings, twins, time.monotonic), Callers()
    twins.faults = {"onnx": Slow(0.2), "original": Slow(0.2)}
    submit(pool, router, callers, batch_of(8))
    callers.wait(1)
    twins.faults = {"onnx": down, "original": down}
    submit(pool, router, callers, batch_of(0))
    callers.wait(2)
    twins.faults = {"onnx": Slow(0.2), "original": Slow(0.2)}
    wait_until(lambda: router.admits("onnx"))
    submit(pool, router, callers, batch_of(1, deadline_s=0.1, primary_budget_s=0.05))
    wait_until(lambda: router.breakers["onnx"].state is State.CLOSED)


@pytest.mark.parametrize("original", [None, down], ids=["the other one answers", "neither does"])
def test_a_call_that_fails_when_nobody_waits_for_it_counts_if_the_other_twin_can_answer(
    pool, settings, twins, original
):
    router, callers = Router(settings, twins, time.monotonic), Callers()
    router.pace.add("onnx", 1.0)

    def refuses_late(batch, outputs):
        time.sleep(0.2)
        refuses(batch, outputs)

    twins.faults = {"onnx": refuses_late} | ({"original": original} if original else {})
    for value in range(6):
        submit(pool, router, callers, batch_of(value, deadline_s=1.0, primary_budget_s=0.05))
    answers = [one(each)[0] for each in callers.wait(6).values()]
    assert [isinstance(each, BothFailed) for each in answers] == [original is not None] * 6
    wait_until(lambda: not pool.lost)
    time.sleep(0.05)
    assert router.breakers["onnx"].state is (State.CLOSED if original else State.OPEN)
    assert count(twins, "onnx") == 6


def test_a_thread_that_begins_when_its_time_is_up_leaves_the_fallback_its_own_verdict(settings, twins):
    """As on a machine that is so busy that the budget has passed before the twin is even asked."""
    router, callers = Router(settings, twins, time.monotonic), Callers()
    twins.faults["onnx"] = refuses
    job = Job(batch_of(1), router, callers, now := time.monotonic())
    job.begin(now)
    assert job.turn()
    cause = job.late(now)
    ticket = router.breakers["original"].admit()
    job._fallback_tickets["original"] = ticket
    assert job.run() is None
    assert not ticket.told
    job.fall_back(cause)
    assert one(callers.answers[(1,)])[0].served_by == "original"
    assert router.breakers["onnx"]._failed_in_a_row == 1, "the other one could answer what it refused"


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
    assert not ticket.told, "it had one second of the five that its caller wanted to give"
    job.pass_deadline(now + 11.6)
    assert ticket.told


def test_callers_with_good_rows_have_them_although_the_original_hangs(pool, settings, twins):
    router, callers = Router(settings, twins, time.monotonic, tally := Tally()), Callers()
    twins.faults = {"onnx": nan_where(2), "original": (slow := Slow())}
    submit(pool, router, callers, batch_of(1, 3), batch_of(2, 4), batch_of(2), batch_of(5))
    answers = callers.wait(2, timeout_s=4.5)
    assert set(answers) == {(1, 3), (5,)}
    assert one(answers[(1, 3)])[0].outputs["y"][:, 0].tolist() == [2, 6]
    wait_until(lambda: count(twins, "original") == 1)
    slow.go.set()
    answers = callers.wait(4)
    assert one(answers[(2, 4)])[0].outputs["y"][:, 0].tolist() == [4, 8]
    assert one(answers[(2, 4)])[0].served_by.tolist() == ["original", "onnx"]
    assert one(answers[(2,)])[0].served_by == "original"
    assert twins.calls == [("onnx", [1, 3, 2, 4, 2, 5]), ("original", [2, 2])]
    wait_until(lambda: not router.falling_back)
    pool.drain(5.0)
    counted = tally.drain()
    assert counted["ml_backend_selected", "onnx", "preferred"] == 3, "one of them for one of its rows alone"
    assert counted["ml_backend_selected", "original", "rows"] == 2


def test_the_twin_is_not_blamed_for_an_original_that_is_slow_with_rows_and_asked_once(pool, settings, twins):
    hurried = replace(settings, deadline_s=2.0, primary_budget_s=0.2)
    router, callers = Router(hurried, twins, time.monotonic, tally := Tally()), Callers()
    twins.faults = {"onnx": nan_where(1), "original": Slow(0.4)}
    for number, values in enumerate([(1,), (1, 2), (1, 3)]):
        submit(pool, router, callers, batch_of(*values, deadline_s=2.0, primary_budget_s=0.2))
        callers.wait(number + 1)
    assert [one(answers)[0].is_by("onnx") for answers in callers.answers.values()] == [False] * 3
    assert count(twins, "onnx") == count(twins, "original") == 3
    assert ("ml_deadline_missed_total", "onnx") not in tally.drain()
    assert router.breakers["onnx"].state is State.CLOSED


def test_no_more_calls_than_may_ask_the_original_for_rows(settings, twins):
    router, callers, pool = Router(settings, twins, time.monotonic), Callers(), Pool(8, Gather(8, 8), 2)
    slow = Slow()
    twins.faults = {"onnx": nan_where(0), "original": slow}
    for value in range(1, 7):
        submit(pool, router, callers, batch_of(0, value))
    wait_until(lambda: count(twins, "onnx") == 6 and count(twins, "original") == 2)
    time.sleep(0.1)
    assert count(twins, "original") == 2
    slow.go.set()
    assert all(not one(answers)[0].is_by("onnx") for answers in callers.wait(6).values())
    pool.drain(5.0)


def test_only_the_twin_whose_answer_a_caller_got_is_counted(pool, settings, twins):
    """Of two answers the first counts, be it that of the twin that was late; after the deadline neither does."""
    router, callers = Router(settings, twins, time.monotonic, tally := Tally()), Callers()
    wishes = {"deadline_s": 1.0, "primary_budget_s": 0.1}
    for value, onnx_s, original_s in ((1, 0.4, 0.0), (2, 0.3, 0.6), (3, 1.2, 1.2)):
        twins.faults = {"onnx": Slow(onnx_s), "original": Slow(original_s)}
        submit(pool, router, callers, batch_of(value, **wishes))
        callers.wait(value)
        time.sleep(0.3)
        wait_until(lambda: not pool.lost and not router.falling_back)
    first, second, third = (one(callers.answers[(value,)])[0] for value in (1, 2, 3))
    assert (first.served_by, second.served_by) == ("original", "onnx")
    assert isinstance(third, DeadlinePassed)
    selected = {series[1:]: amount for series, amount in tally.drain().items() if series[0] == "ml_backend_selected"}
    assert selected == {("original", "late"): 1, ("onnx", "preferred"): 1}
