"""When a breaker opens, whom it lets through, and whose verdict counts."""

import threading

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from python_backend.hybrid.breaker import Breaker, Policy, State

from .conftest import Clock


def middle():
    """Dice that neither lengthen nor shorten a pause."""
    return 0.5


@pytest.fixture
def breaker(clock):
    return Breaker(clock, middle)


def break_open(breaker):
    breaker.admit().failed("it is not ready", gone=True)


def test_it_opens_at_once_when_the_twin_is_gone_and_probes_once_a_second_later(breaker, clock):
    break_open(breaker)
    assert breaker.state is State.OPEN
    assert breaker.cause == "it is not ready"
    assert breaker.admit() is None
    clock.now += 0.99
    assert breaker.admit() is None
    clock.now += 0.02
    assert breaker.admit() is not None
    assert breaker.state is State.HALF_OPEN
    assert breaker.admit() is None


def test_a_twin_that_is_not_loaded_is_looked_for_twice_a_second(breaker, clock):
    """It is often about to be loaded, and Triton says at once that it is not."""
    breaker.admit().failed("it is not ready", gone=True, absent=True)
    pauses = []
    for _ in range(5):
        start = clock.now
        while (probe := breaker.admit()) is None:
            clock.now += 0.25
        pauses.append(clock.now - start)
        probe.failed("it is not ready", gone=True, absent=True)
    assert pauses == [0.5] * 5
    clock.now += 0.5
    breaker.admit().failed("it is loaded, and fails")
    clock.now += 1.75
    assert breaker.admit() is None
    clock.now += 0.25
    assert breaker.admit() is not None


def test_each_failed_probe_doubles_the_pause_up_to_a_minute(breaker, clock):
    break_open(breaker)
    pauses = []
    for _ in range(9):
        start = clock.now
        while (probe := breaker.admit()) is None:
            clock.now += 0.5
        pauses.append(clock.now - start)
        probe.failed("still not ready")
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(("dice", "pause"), [(0.0, 0.9), (0.5, 1.0), (1.0, 1.1)])
def test_a_pause_is_longer_or_shorter_by_a_tenth_at_most(clock, dice, pause):
    breaker = Breaker(clock, lambda: dice)
    break_open(breaker)
    clock.now += pause - 0.001
    assert breaker.admit() is None
    clock.now += 0.002
    assert breaker.admit() is not None


def test_a_probe_that_succeeds_closes_it_and_the_pauses_begin_anew(breaker, clock):
    break_open(breaker)
    for pause in (1, 2, 4):
        clock.now += pause
        probe = breaker.admit()
        probe.failed("not yet") if pause < 4 else probe.succeeded()
    assert breaker.state is State.CLOSED
    assert breaker.admit() is not None
    break_open(breaker)
    clock.now += 1
    assert breaker.admit() is not None


def test_calls_that_were_under_way_when_the_twin_died_count_no_more(breaker, clock):
    under_way = [breaker.admit() for _ in range(16)]
    for ticket in under_way[:8]:
        ticket.failed("not healthy", gone=True)
    clock.now += 1
    probe = breaker.admit()
    for ticket in under_way[8:12]:
        ticket.failed("not healthy", gone=True)
    assert breaker.state is State.HALF_OPEN
    probe.succeeded()
    for ticket in under_way[12:]:
        ticket.failed("not healthy", gone=True)
    assert breaker.state is State.CLOSED


def test_an_old_success_does_not_close_it(breaker):
    old = breaker.admit()
    break_open(breaker)
    old.succeeded()
    assert breaker.state is State.OPEN


def test_five_failures_in_a_row_open_it_and_four_do_not(breaker):
    for wrong in (4, 5):
        for _ in range(wrong):
            breaker.admit().failed("nonsense")
        assert (breaker.state is State.OPEN) == (wrong == 5)
        if wrong == 4:
            breaker.admit().succeeded()


def test_three_late_answers_without_a_good_one_between_them_open_it(breaker):
    for _ in range(2):
        breaker.admit().failed("late", late=True)
    breaker.admit().succeeded()
    for late in (1, 2, 3):
        assert breaker.state is State.CLOSED
        breaker.admit().failed("late", late=True)
        assert (breaker.state is State.OPEN) == (late == 3)


def test_half_of_twenty_calls_in_ten_seconds_open_it_and_fewer_calls_do_not(breaker, clock):
    for number in range(19):
        ticket = breaker.admit()
        ticket.failed("nonsense") if number % 2 else ticket.succeeded()
    assert breaker.state is State.CLOSED
    breaker.admit().failed("nonsense")
    assert breaker.state is State.OPEN


def test_failures_are_forgotten_after_ten_seconds(breaker, clock):
    for number in range(19):
        ticket = breaker.admit()
        ticket.failed("nonsense") if number % 2 else ticket.succeeded()
    clock.now += 11
    for number in range(19):
        ticket = breaker.admit()
        ticket.failed("nonsense") if number % 3 == 0 else ticket.succeeded()
    assert breaker.state is State.CLOSED


def test_only_the_first_verdict_of_a_ticket_counts(breaker):
    for _ in range(10):
        ticket = breaker.admit()
        ticket.succeeded()
        ticket.failed("late", late=True)
    assert breaker.state is State.CLOSED


def test_a_call_that_says_nothing_of_the_twin_changes_nothing(breaker):
    for _ in range(40):
        breaker.admit().undecided()
    assert breaker.state is State.CLOSED


def test_an_undecided_probe_is_repeated_after_the_same_pause(breaker, clock):
    break_open(breaker)
    for _ in range(5):
        clock.now += 1
        breaker.admit().undecided()
        assert breaker.admit() is None
    assert breaker.cause == "it is not ready"


def probe_twice(breaker, clock):
    """The tickets of a probe that has no verdict yet and of the one after it, a pause later."""
    break_open(breaker)
    clock.now += 1
    first = breaker.admit()
    clock.now += 1
    return first, breaker.admit()


def test_a_probe_without_a_verdict_does_not_keep_it_open_for_good(breaker, clock):
    lost, second = probe_twice(breaker, clock)
    lost.failed("at last")
    assert breaker.state is State.HALF_OPEN
    second.succeeded()
    assert breaker.state is State.CLOSED


def test_a_twin_that_takes_longer_than_a_pause_is_back_with_its_first_answer(breaker, clock):
    first, second = probe_twice(breaker, clock)
    clock.now += 0.3
    assert second is not None
    first.succeeded()
    assert breaker.state is State.CLOSED
    second.failed("not healthy", gone=True)
    assert breaker.state is State.OPEN


def test_a_probe_of_before_it_opened_again_closes_it_no_more(breaker, clock):
    old, second = probe_twice(breaker, clock)
    second.failed("still not ready")
    clock.now += 2
    probe = breaker.admit()
    old.succeeded()
    assert breaker.state is State.HALF_OPEN
    probe.succeeded()
    assert breaker.state is State.CLOSED


def test_of_many_threads_one_is_the_probe(breaker, clock):
    break_open(breaker)
    clock.now += 2
    barrier, admitted = threading.Barrier(16), []

    def ask():
        barrier.wait()
        if breaker.admit():
            admitted.append(1)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 1


class Life(RuleBasedStateMachine):
    """Calls that come, return in any order or never, and time that passes: what holds whatever happens."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.policy = Policy()
        self.rolls = 0
        self.breaker = Breaker(self.clock, self._roll, policy=self.policy)
        self.pending = []
        self.opened_at = None
        self.probes = []

    def _roll(self):
        self.rolls = (self.rolls + 7) % 11
        return self.rolls / 10

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 2.5, 20.0, 70.0]))
    def time_passes(self, seconds):
        self.clock.now += seconds

    @rule()
    def a_call_comes(self):
        before = self.breaker.state
        ticket = self.breaker.admit()
        if before is State.CLOSED:
            assert ticket is not None
        elif ticket is not None:
            # A shortened pause is never shorter than this; the longest one is over by then.
            assert self.clock.now - self.opened_at >= 0.9 * self.policy.absent_pause_s
            assert self.breaker.state is State.HALF_OPEN
            self.opened_at = self.clock.now
            self.probes.append(ticket)
        elif before is State.OPEN:
            assert self.clock.now - self.opened_at < 1.1 * self.policy.longest_pause_s
        if ticket is not None:
            self.pending.append(ticket)

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), verdict=st.sampled_from(["good", "bad", "late", "gone", "absent", "undecided"]))
    def a_call_returns(self, data, verdict):
        ticket = self.pending.pop(data.draw(st.integers(0, len(self.pending) - 1)))
        before, is_news = self.breaker.state, ticket.generation == self.breaker._generation
        if verdict == "good":
            is_news = is_news or (before is State.HALF_OPEN and ticket in self.probes)
            ticket.succeeded()
        elif verdict == "undecided":
            ticket.undecided()
        else:
            absent = verdict == "absent"
            ticket.failed(verdict, late=verdict == "late", gone=absent or verdict == "gone", absent=absent)
        after = self.breaker.state
        if not is_news:
            assert after is before
        elif verdict == "good":
            assert after is State.CLOSED
        elif verdict in ("gone", "absent") or before is State.HALF_OPEN:
            assert after is State.OPEN
        if after is State.OPEN and before is not State.OPEN:
            self.opened_at = self.clock.now
            self.probes = []

    @invariant()
    def it_says_why_it_is_open(self):
        assert self.breaker.state is State.CLOSED or self.breaker.cause


Life.TestCase.settings = hypothesis_settings(max_examples=150, stateful_step_count=60, deadline=None)
TestLife = Life.TestCase
