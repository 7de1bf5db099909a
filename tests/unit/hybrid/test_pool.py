"""Real threads, real time, no Triton: every request is answered exactly once, whatever the twins do."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from python_backend.hybrid.batch import Answer, join
from python_backend.hybrid.breaker import State
from python_backend.hybrid.errors import DeadlinePassed, HybridError, TwinFailed
from python_backend.hybrid.gather import Gather
from python_backend.hybrid.jobs import Job
from python_backend.hybrid.pool import Pool
from python_backend.hybrid.router import Router
from python_backend.hybrid.settings import OutputSpec, Settings

from .conftest import Twins, batch_of, down, refuses


class Callers:
    """What each request was answered, and when."""

    def __init__(self):
        self.answers = {}
        self._lock = threading.Lock()
        self._start = time.monotonic()

    def __call__(self, batch, answer):
        with self._lock:
            self.answers.setdefault(batch.request, []).append((answer, time.monotonic() - self._start))

    def wait(self, count, timeout_s=10.0):
        end = time.monotonic() + timeout_s
        while len(self.answers) < count:
            assert time.monotonic() < end, f"{len(self.answers)} of {count} answered"
            time.sleep(0.005)
        return self.answers


class Slow:
    """Takes its time, or until it is let go."""

    def __init__(self, seconds=60.0):
        self._seconds = seconds
        self.go = threading.Event()

    def __call__(self, batch, outputs):
        self.go.wait(self._seconds)
        return outputs


@pytest.fixture
def pool():
    made = Pool(4, Gather(8, 4), 2)
    yield made
    made.drain(5.0)


@pytest.fixture
def router(settings, twins):
    return Router(settings, twins, time.monotonic)


def router_with_copies(pool, settings, twins):
    """As the hybrid makes it: copies of requests, in threads of their own, find out whether an ill twin is well."""

    def aside(task):
        threading.Thread(target=task, daemon=True).start()

    return Router(settings, twins, time.monotonic, aside=aside, when_well=pool.forgive)


def submit(pool, router, callers, *batches):
    pool.submit(Job(join(batches), router, callers, time.monotonic()))


def one(answers):
    ((answer, after_s),) = answers
    return answer, after_s


def test_a_group_is_one_call_and_each_request_gets_its_own_rows(pool, router, twins):
    callers = Callers()
    submit(pool, router, callers, batch_of(1, 2), batch_of(3), batch_of(4, 5))
    answers = callers.wait(3)
    assert twins.calls == [("onnx", [1, 2, 3, 4, 5])]
    for values in ((1, 2), (3,), (4, 5)):
        answer, _ = one(answers[values])
        assert answer.outputs["y"][:, 0].tolist() == [2 * value for value in values]


def test_calls_of_successive_batches_overlap(pool, router, twins):
    slow = twins.faults["onnx"] = Slow()
    callers = Callers()
    for value in range(4):
        submit(pool, router, callers, batch_of(value))
    end = time.monotonic() + 5
    while len(twins.calls) < 4:
        assert time.monotonic() < end
        time.sleep(0.005)
    slow.go.set()
    assert len(callers.wait(4)) == 4


def test_a_late_primary_is_overtaken_and_its_answer_dropped(pool, router, twins):
    slow = twins.faults["onnx"] = Slow()
    callers = Callers()
    submit(pool, router, callers, batch_of(1, primary_budget_s=0.1))
    answer, after_s = one(callers.wait(1)[(1,)])
    assert answer.served_by == "original"
    assert 0.1 <= after_s < 4.5
    assert pool.lost == 1
    slow.go.set()
    end = time.monotonic() + 5
    while pool.lost:
        assert time.monotonic() < end
        time.sleep(0.005)
    assert len(callers.answers[(1,)]) == 1


def test_when_both_are_late_the_deadline_is_the_answer_and_the_threads_are_bounded(pool, router, twins):
    slow = Slow()
    twins.faults = {"onnx": slow, "original": slow}
    callers = Callers()
    before = threading.active_count()
    for value in range(4):
        submit(pool, router, callers, batch_of(value, primary_budget_s=0.1, deadline_s=0.3))
    for value in range(4):
        answer, after_s = one(callers.wait(4)[(value,)])
        assert isinstance(answer, DeadlinePassed | TwinFailed)
        assert after_s < 4.5
    assert threading.active_count() - before <= 8
    slow.go.set()


def test_late_twins_are_left_alone_and_the_next_requests_do_not_wait(pool, router, twins):
    slow = twins.faults["onnx"] = Slow()
    callers = Callers()
    for value in range(3):
        submit(pool, router, callers, batch_of(value, primary_budget_s=0.1))
    callers.wait(3)
    start = time.monotonic()
    submit(pool, router, callers, batch_of(9, primary_budget_s=5.0))
    answer, _ = one(callers.wait(4)[(9,)])
    assert answer.served_by == "original"
    assert time.monotonic() - start < 4.5
    slow.go.set()


def test_a_deadline_counts_while_a_request_waits_for_a_thread(pool, router, twins):
    slow = twins.faults["onnx"] = Slow()
    callers = Callers()
    for value in range(4):
        submit(pool, router, callers, batch_of(value))
    submit(pool, router, callers, batch_of(9, deadline_s=1.0))
    assert callers.answers == {}, "whoever submits does not wait"
    answer, after_s = one(callers.wait(1)[(9,)])
    assert isinstance(answer, DeadlinePassed)
    assert str(answer) == "no answer within the deadline of 1000 ms (all threads were busy)"
    assert 1.0 <= after_s < 4.5
    slow.go.set()
    assert len(callers.wait(5)) == 5
    assert sorted(rows for _, rows in twins.calls) == [[0], [1], [2], [3]], "nobody is asked when it is too late"
    assert router.breakers["onnx"].state is State.CLOSED


def test_who_waits_for_a_thread_gets_one_in_the_order_of_arrival(router, twins):
    slow = twins.faults["onnx"] = Slow()
    pool, callers = Pool(1, Gather(8, 1), 1), Callers()
    for value in range(5):
        submit(pool, router, callers, batch_of(value))
    slow.go.set()
    callers.wait(5)
    assert twins.calls == [("onnx", [value]) for value in range(5)]
    pool.drain(5.0)


def test_a_twin_is_not_blamed_where_waiting_took_its_time(router, twins):
    """Requests get a thread when 3 s of their 10 s are left, and the twin then half of that, for longer work."""
    pool, callers = Pool(8, Gather(8, 8), 8), Callers()
    first, slow = Slow(), Slow()
    twins.faults["onnx"] = lambda batch, outputs: (first if batch.request < (8,) else slow)(batch, outputs)
    for value in range(8):
        submit(pool, router, callers, batch_of(value))
    wait_until(lambda: len(twins.calls) == 8)
    for value in range(8, 12):
        pool.submit(Job(batch_of(value), router, callers, time.monotonic() - 7.0))
    first.go.set()
    answers = callers.wait(12)
    assert [one(answers[(value,)])[0].served_by for value in range(12)] == ["onnx"] * 8 + ["original"] * 4
    assert router.breakers["onnx"].state is State.CLOSED
    slow.go.set()
    pool.drain(5.0)


def test_a_twin_that_keeps_half_of_the_threads_is_not_asked_again_until_they_return(pool, router, twins):
    slow = twins.faults["onnx"] = Slow()
    callers = Callers()
    for value in range(2):
        submit(pool, router, callers, batch_of(value, primary_budget_s=0.1))
    callers.wait(2)
    asked = [twin for twin, _ in twins.calls].count("onnx")
    submit(pool, router, callers, batch_of(8))
    assert one(callers.wait(3)[(8,)])[0].served_by == "original"
    assert [twin for twin, _ in twins.calls].count("onnx") == asked == 2
    slow.go.set()
    end = time.monotonic() + 5
    while pool.lost:
        assert time.monotonic() < end
        time.sleep(0.005)
    twins.faults.clear()
    submit(pool, router, callers, batch_of(9))
    assert one(callers.wait(4)[(9,)])[0].served_by == "onnx"


def test_a_twin_that_is_well_again_is_asked_although_calls_to_it_hang_for_good(settings, twins):
    """As where its process hung and was replaced by another one. How many threads may be lost is bounded."""
    pool = Pool(2, Gather(8, 2), 1)
    router = router_with_copies(pool, settings, twins)
    callers, hangs, asked = Callers(), [], 0

    def ask():
        nonlocal asked
        asked += 1
        submit(pool, router, callers, batch_of(asked, primary_budget_s=0.1))
        return one(callers.wait(asked)[(asked,)])[0].served_by

    for lost in (1, 2, 3, 4):
        hangs.append(Slow())
        twins.faults["onnx"] = hangs[-1]
        assert [ask(), ask()] == ["original", "original"]
        assert pool.lost == lost
        twins.faults.clear()
        end = time.monotonic() + (5 if lost < 4 else 2.5)
        while (served_by := ask()) == "original" and time.monotonic() < end:
            time.sleep(0.05)
        assert served_by == ("onnx" if lost < 4 else "original"), f"{lost} calls hang"
    for each in hangs:
        each.go.set()
    end = time.monotonic() + 5
    while ask() == "original":
        assert time.monotonic() < end
        time.sleep(0.05)
    pool.drain(5.0)


def test_a_twin_is_asked_again_after_a_hang_that_kept_more_threads_than_there_are(settings, twins):
    """The thread that takes the place of the first late one asks the twin as well: its breaker is closed yet."""
    pool = Pool(4, Gather(8, 4), 2)
    router = router_with_copies(pool, settings, twins)
    callers = Callers()
    hang = twins.faults["onnx"] = Slow()
    for value, budget_s in enumerate((0.1, 1.0, 1.0, 1.0, 0.5)):
        submit(pool, router, callers, batch_of(value, primary_budget_s=budget_s))
    callers.wait(5)
    assert pool.lost == 5
    twins.faults.clear()
    for value in range(5, 500):
        submit(pool, router, callers, batch_of(value))
        if one(callers.wait(value + 1)[(value,)])[0].served_by == "onnx":
            break
        time.sleep(0.02)
    else:
        pytest.fail("it was not asked again")
    hang.go.set()
    pool.drain(5.0)


def test_nobody_waits_for_a_twin_of_which_another_request_heard_that_it_is_gone(settings, twins):
    """As where its process is killed: every call that is under way would be told so after a second, one by one."""
    pool = Pool(4, Gather(8, 4), 2)
    router = Router(settings, twins, time.monotonic, when_gone=pool.abandon)
    slow = Slow()

    def dies(batch, outputs):
        if batch.request == (9,):
            down(batch, outputs)
        return slow(batch, outputs)

    twins.faults["onnx"] = dies
    callers = Callers()
    for value in range(3):
        submit(pool, router, callers, batch_of(value))
    assert callers.answers == {}
    submit(pool, router, callers, batch_of(9))
    answers = callers.wait(4, timeout_s=4.5)
    assert {one(each)[0].served_by for each in answers.values()} == {"original"}
    assert router.breakers["original"].state is State.CLOSED
    slow.go.set()
    pool.drain(5.0)


class Returning:
    """A twin that is not there until it is let in."""

    def __init__(self):
        self.is_back = False

    def __call__(self, batch, outputs):
        return outputs if self.is_back else down(batch, outputs)


def count(twins, twin):
    return [asked for asked, _ in twins.calls].count(twin)


def wait_until(holds, timeout_s=5.0):
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_only_half_of_the_threads_fall_back_and_who_waits_is_asked_again_at_the_twin_that_is_back(pool, router, twins):
    """The original takes its time, so without a bound all threads would wait for it when the twin is back."""
    slow = twins.faults["original"] = Slow()
    twin = twins.faults["onnx"] = Returning()
    callers = Callers()
    for value in range(10):
        submit(pool, router, callers, batch_of(value))
    wait_until(lambda: count(twins, "original") == 2)
    time.sleep(0.2)
    assert count(twins, "original") == 2, "two of four threads"
    assert callers.answers == {}
    twin.is_back = True
    # The breaker's first pause is a second.
    answers = callers.wait(8, timeout_s=8.0)
    assert {one(each)[0].served_by for each in answers.values()} == {"onnx"}
    assert router.breakers["onnx"].state is State.CLOSED
    slow.go.set()
    answers = callers.wait(10)
    assert [one(each)[0].served_by for each in answers.values()].count("original") == 2
    assert count(twins, "original") == 2


def test_who_waits_to_fall_back_does_so_in_turn_and_in_time_or_hears_why_not(pool, settings, twins):
    # The breaker's pause is never over.
    router = Router(settings, twins, lambda: 0.0)
    twins.faults["onnx"] = down
    slow = twins.faults["original"] = Slow()
    callers = Callers()
    for value in range(2):
        submit(pool, router, callers, batch_of(value))
    wait_until(lambda: count(twins, "original") == 2)
    submit(pool, router, callers, batch_of(2, deadline_s=1.0))
    submit(pool, router, callers, batch_of(3))
    answer, after_s = one(callers.wait(1)[(2,)])
    assert isinstance(answer, DeadlinePassed)
    assert "circuit breaker is open" in str(answer)
    assert "as many calls as may fall back do so" in str(answer)
    assert 1.0 <= after_s < 4.5
    assert router.breakers["original"].state is State.CLOSED, "it was not even asked"
    slow.go.set()
    assert one(callers.wait(4)[(3,)])[0].served_by == "original"


def test_a_request_that_its_twin_refused_is_not_asked_for_there_again(pool, router, twins):
    slow = twins.faults["original"] = Slow()
    twins.faults["onnx"] = refuses
    callers = Callers()
    for value in range(4):
        submit(pool, router, callers, batch_of(value))
    wait_until(lambda: count(twins, "original") == 2)
    time.sleep(0.2)
    slow.go.set()
    callers.wait(4)
    assert count(twins, "onnx") == count(twins, "original") == 4


def test_calls_to_a_twin_that_was_gone_say_nothing_of_the_one_that_takes_its_place(settings, twins):
    """The process is killed, and another one serves, before Triton has told all who waited for the first."""
    pool = Pool(4, Gather(8, 4), 2)
    router = Router(settings, twins, time.monotonic, when_gone=pool.abandon)
    slow = Slow()
    twins.faults["onnx"] = lambda batch, outputs: (
        down(batch, outputs) if batch.request == (9,) else slow(batch, outputs)
    )
    callers = Callers()
    for value in range(3):
        submit(pool, router, callers, batch_of(value))
    wait_until(lambda: count(twins, "onnx") == 3)
    submit(pool, router, callers, batch_of(9))
    callers.wait(4)
    assert pool.lost == 3
    del twins.faults["onnx"]
    wait_until(lambda: router.admits("onnx"))
    submit(pool, router, callers, batch_of(5))
    assert one(callers.wait(5)[(5,)])[0].served_by == "onnx"
    slow.go.set()
    pool.drain(5.0)


def test_the_fallback_is_not_blamed_where_waiting_for_it_took_the_time(router, twins):
    """Four requests get their turn when 2 s of their 10 s are left, for longer work."""
    pool, callers = Pool(8, Gather(8, 8), 4), Callers()
    twins.faults = {"onnx": refuses}
    submit(pool, router, callers, batch_of(9))
    callers.wait(1)
    first, slow = Slow(), Slow()
    twins.faults["original"] = lambda batch, outputs: (first if batch.request < (4,) else slow)(batch, outputs)
    for value in range(4):
        submit(pool, router, callers, batch_of(value))
    wait_until(lambda: count(twins, "original") == 5)
    for value in range(4, 8):
        pool.submit(Job(batch_of(value), router, callers, time.monotonic() - 8.0))
    first.go.set()
    answers = callers.wait(9)
    assert [isinstance(one(each)[0], DeadlinePassed) for each in answers.values()].count(True) == 4
    assert count(twins, "original") == 9
    assert router.breakers["original"].state is State.CLOSED
    slow.go.set()
    pool.drain(5.0)


def test_nobody_is_asked_for_what_would_come_too_late_where_others_wait(pool, router, twins):
    """The twin takes 0.3 s; of the calls that get a thread after 0.85 s of 1.0, none is worth making."""
    twins.faults["onnx"] = Slow(0.3)
    submit(pool, router, callers := Callers(), batch_of(0))
    callers.wait(1)
    slow = twins.faults["onnx"] = Slow()
    for value in range(1, 5):
        submit(pool, router, callers, batch_of(value))
    wait_until(lambda: len(twins.calls) == 5)
    submit(pool, router, callers, batch_of(5, deadline_s=1.0))
    submit(pool, router, callers, batch_of(6))
    time.sleep(0.85)
    slow.go.set()
    answers = callers.wait(7)
    answer, _ = one(answers[(5,)])
    assert isinstance(answer, DeadlinePassed)
    assert ("onnx", [5]) not in twins.calls
    assert one(answers[(6,)])[0].served_by == "onnx"


def test_who_goes_back_to_its_twin_is_not_given_up_because_the_other_one_is_slow(router, twins):
    twins.faults = {"onnx": refuses, "original": Slow(0.3)}
    callers = Callers()
    pool = Pool(1, Gather(8, 1), 1)
    submit(pool, router, callers, batch_of(0))
    callers.wait(1)
    now = time.monotonic()
    job = Job(batch_of(1, deadline_s=1.0), router, callers, now - 0.8)
    job.begin(now)
    assert job.turn(), "it was to fall back"
    assert job.is_hopeless(now, TwinFailed("onnx", "gone", "gone"))
    assert not job.is_hopeless(now, None)
    pool.drain(5.0)


def test_a_short_deadline_alone_is_no_reason_not_to_ask(pool, router, twins):
    twins.faults["onnx"] = Slow(2.0)
    submit(pool, router, callers := Callers(), batch_of(0))
    callers.wait(1)
    del twins.faults["onnx"]
    submit(pool, router, callers, batch_of(1, deadline_s=1.5))
    assert one(callers.wait(2)[(1,)])[0].served_by == "onnx"


def test_late_calls_to_the_fallback_do_not_keep_others_from_falling_back(pool, router, twins):
    twins.faults["onnx"] = refuses
    slow = twins.faults["original"] = Slow()
    callers = Callers()
    for value in range(2):
        submit(pool, router, callers, batch_of(value, deadline_s=1.0, primary_budget_s=0.5))
    callers.wait(2)
    # A thread is given up just after its caller has the answer.
    wait_until(lambda: pool.lost == 2)
    del twins.faults["original"]
    submit(pool, router, callers, batch_of(9))
    assert one(callers.wait(3)[(9,)])[0].served_by == "original"
    slow.go.set()


def test_budgets_are_kept_to_the_moment(monkeypatch, router, twins):
    """Also those of a job that expires before every other one that the watchdog knows."""
    monkeypatch.setattr("python_backend.hybrid.pool._LOOK_S", 30.0)
    pool = Pool(4, Gather(8, 4), 2)
    slow = twins.faults["onnx"] = Slow()
    callers = Callers()
    submit(pool, router, callers, batch_of(1, primary_budget_s=9.0))
    time.sleep(0.1)
    submit(pool, router, callers, batch_of(2, primary_budget_s=0.1))
    _, after_s = one(callers.wait(1)[(2,)])
    assert 0.2 <= after_s < 4.5
    slow.go.set()
    assert len(callers.wait(2)) == 2
    pool.drain(5.0)


def test_when_neither_twin_can_be_asked_a_group_is_not_taken_apart(pool, router, twins):
    twins.faults = {"onnx": down, "original": down}
    callers = Callers()
    submit(pool, router, callers, batch_of(1), batch_of(2), batch_of(3))
    assert all(one(answers)[0].unavailable for answers in callers.wait(3).values())
    assert len(twins.calls) == 2


def test_a_poisonous_request_fails_alone(pool, router, twins):
    def poisoned(batch, outputs):
        if 3 in batch.inputs()["x"][:, 0]:
            refuses(batch, outputs)
        return outputs

    twins.faults = {"onnx": poisoned, "original": poisoned}
    callers = Callers()
    submit(pool, router, callers, batch_of(1), batch_of(3), batch_of(4))
    answers = callers.wait(3)
    assert one(answers[(1,)])[0].outputs["y"][0, 0] == 2
    assert one(answers[(4,)])[0].outputs["y"][0, 0] == 8
    assert isinstance(one(answers[(3,)])[0], HybridError)


def test_an_error_that_nobody_foresaw_is_an_answer_too(pool, router, twins):
    def bug(batch, outputs):
        raise ZeroDivisionError("a bug")

    twins.faults["onnx"] = bug
    callers = Callers()
    submit(pool, router, callers, batch_of(1))
    answer, _ = one(callers.wait(1)[(1,)])
    assert "ZeroDivisionError: a bug" in str(answer)
    twins.faults.clear()
    for value in range(8):
        submit(pool, router, callers, batch_of(value + 10))
    assert len(callers.wait(9)) == 9


def test_draining_answers_what_is_in_flight(router, twins):
    pool = Pool(2, Gather(8, 2), 1)
    twins.faults["onnx"] = Slow(0.2)
    callers = Callers()
    submit(pool, router, callers, batch_of(1))
    pool.drain(5.0)
    assert one(callers.answers[(1,)])[0].served_by == "onnx"


def test_draining_does_not_wait_for_ever(router, twins):
    pool = Pool(2, Gather(8, 2), 1)
    slow = twins.faults["onnx"] = Slow()
    callers = Callers()
    for value in range(4):
        submit(pool, router, callers, batch_of(value))
    pool.drain(0.1)
    assert all("being unloaded" in str(one(answers)[0]) for answers in callers.wait(4).values())
    slow.go.set()


FATE = st.sampled_from(["right", "refuses", "nan", "late", "bug", "gone"])


def act(fates, which):
    """A twin that treats each request as its fate says."""

    def fault(batch, outputs):
        for value in batch.inputs()["x"][:, 0].astype(int):
            fate = fates[value][which]
            if fate == "refuses":
                refuses(batch, outputs)
            elif fate == "bug":
                raise ZeroDivisionError
            elif fate == "gone":
                down(batch, outputs)
            elif fate == "late":
                time.sleep(0.15)
            elif fate == "nan":
                outputs["y"][batch.inputs()["x"][:, 0] == value] = np.nan
        return outputs

    return fault


@given(groups=st.lists(st.lists(st.tuples(FATE, FATE), min_size=1, max_size=3), min_size=1, max_size=6))
@hypothesis_settings(max_examples=40, deadline=None)
def test_every_request_is_answered_exactly_once_and_never_wrongly(groups):
    """Each request carries its own fate at either twin; groups of them go through together."""
    fates = [fate for group in groups for fate in group]
    settings = Settings(
        {},
        "onnx",
        True,
        0.3,
        0.08,
        4,
        2,
        8,
        2,
        64,
        1000,
        None,
        True,
        frozenset(),
        {"y": OutputSpec(np.dtype(np.float32), (2,), True)},
    )

    twins = Twins()
    twins.faults = {"onnx": act(fates, 0), "original": act(fates, 1)}
    pool, callers = Pool(4, Gather(8, 4), 2), Callers()
    aside = []
    router = Router(settings, twins, time.monotonic, aside=aside.append, when_gone=pool.abandon)
    numbers = iter(range(len(fates)))
    for group in groups:
        parts = [batch_of(next(numbers), deadline_s=0.3, primary_budget_s=0.08) for _ in group]
        submit(pool, router, callers, *parts)
    callers.wait(len(fates), timeout_s=20)
    pool.drain(5.0)
    assert sorted(callers.answers) == [(number,) for number in range(len(fates))]
    for (number,), answers in callers.answers.items():
        answer, _ = one(answers)
        if isinstance(answer, Answer) and np.isfinite(answer.outputs["y"]).all():
            assert answer.outputs["y"].tolist() == [[number * 2, 2]]
        elif isinstance(answer, Answer):
            assert fates[number][1] == "nan"
