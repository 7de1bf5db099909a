from collections.abc import Callable
from typing import Any

import pytest
from understudy_client import (
    ConnectionLost,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    ModelNotReady,
    ServerError,
    ServerUnavailable,
    UnderstudyClientError,
)
from understudy_client.calls import Call, Infer, Load, ReadIndex, Unload
from understudy_client.steps import Backoff, Deadline, Meaning, Pause, Send, Steps, advance, send


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _steady(retries: int = 3) -> Backoff:
    return Backoff(retries, first_s=0.1, longest_s=0.4, jitter=lambda: 1.0)


def _play(
    clock: Clock,
    deadline: Deadline,
    backoff: Backoff,
    turns: list[Callable[[], object]],
    meaning: Meaning | None = None,
    call: Call[Any] | None = None,
) -> tuple[object, list[float], list[float]]:
    """Run `send` against scripted turns; return the answer, the pauses, and the time that each attempt had."""
    steps = send(lambda _: call or ReadIndex(), deadline, backoff, meaning)
    result: object = None
    error: UnderstudyClientError | None = None
    pauses: list[float] = []
    timeouts: list[float] = []
    while True:
        try:
            effect = advance(steps, result, error)
        except StopIteration as stop:
            return stop.value, pauses, timeouts
        result = error = None
        if isinstance(effect, Pause):
            pauses.append(effect.seconds)
            clock.now += effect.seconds
            continue
        assert isinstance(effect, Send)
        timeouts.append(effect.timeout_s)
        try:
            result = turns.pop(0)()
        except UnderstudyClientError as caught:
            error = caught


def _fail(error: UnderstudyClientError) -> Callable[[], object]:
    def turn() -> object:
        raise error

    return turn


UNAVAILABLE = ServerUnavailable("here", "queue full")


def test_a_call_is_sent_again_while_the_server_is_unavailable_with_growing_pauses() -> None:
    clock = Clock()
    turns = [_fail(UNAVAILABLE)] * 4 + [lambda: "answer"]
    answer, pauses, timeouts = _play(clock, Deadline(10, clock), _steady(retries=4), turns)
    assert answer == "answer"
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.4])
    assert timeouts == pytest.approx([10, 9.9, 9.7, 9.3, 8.9])


LOST = ConnectionLost("here", "reset by peer")


def test_what_a_broken_connection_lost_is_sent_again_if_it_may_run_twice() -> None:
    clock = Clock()
    answer, pauses, _ = _play(clock, Deadline(10, clock), _steady(), [_fail(LOST)] * 2 + [lambda: "answer"])
    assert answer == "answer"
    assert pauses == pytest.approx([0.1, 0.2])
    with pytest.raises(ConnectionLost, match="reset by peer"):
        _play(clock, Deadline(10, clock), _steady(retries=2), [_fail(LOST)] * 3)


@pytest.mark.parametrize("call", [Load("m"), Unload("m")])
@pytest.mark.parametrize("error", [LOST, UNAVAILABLE])
def test_what_may_not_run_twice_is_not(call: Call[Any], error: UnderstudyClientError) -> None:
    """A proxy says "unavailable" as well of a server that it lost at work."""
    clock = Clock()
    with pytest.raises(type(error)):
        _play(clock, Deadline(10, clock), _steady(), [_fail(error), lambda: "answer"], call=call)


@pytest.mark.parametrize("call", [Load("m"), Unload("m"), Infer("m")])
def test_what_was_never_sent_is_sent_again_whatever_it_is(call: Call[Any]) -> None:
    clock = Clock()
    refused = ServerUnavailable("here", "connection refused", sent=False)
    turns = [_fail(refused)] * 2 + [lambda: "answer"]
    assert _play(clock, Deadline(10, clock), _steady(), turns, call=call)[0] == "answer"
    with pytest.raises(ServerUnavailable, match="after 3 attempts") as caught:
        _play(clock, Deadline(10, clock), _steady(retries=2), [_fail(refused)] * 3, call=call)
    assert not caught.value.sent


def test_retries_end_and_the_error_counts_the_attempts() -> None:
    clock = Clock()
    with pytest.raises(ServerUnavailable) as caught:
        _play(clock, Deadline(10, clock), _steady(retries=2), [_fail(UNAVAILABLE)] * 9)
    assert caught.value.attempts == 3
    assert caught.value.detail == "queue full"


def test_no_pause_goes_beyond_the_deadline() -> None:
    clock = Clock()
    with pytest.raises(ServerUnavailable) as caught:
        _play(clock, Deadline(0.25, clock), _steady(), [_fail(UNAVAILABLE)] * 9)
    assert caught.value.attempts == 2
    assert clock.now == pytest.approx(100.1)


def test_a_hybrid_whose_clock_was_a_moment_ahead_says_that_time_is_up() -> None:
    """It says UNAVAILABLE, as of anything that may well work later; with time left it is asked again."""
    over = ServerUnavailable("here", "no answer within the deadline of 250 ms (onnx was asked first)")
    clock = Clock()
    with pytest.raises(DeadlineExceeded, match="no answer within the deadline of 250 ms"):
        _play(clock, Deadline(0.25, clock), _steady(), [_fail(over)] * 9)
    answer, _, _ = _play(clock, Deadline(10, clock), _steady(), [_fail(over), lambda: "answer"])
    assert answer == "answer"
    with pytest.raises(ServerUnavailable):
        _play(clock, Deadline(10, clock), _steady(retries=0), [_fail(over)])


@pytest.mark.parametrize("error", [ServerError("here", "x"), InvalidRequest("here", "x")])
def test_no_other_error_is_sent_again(error: UnderstudyClientError) -> None:
    clock = Clock()
    turns = [_fail(error), lambda: "never"]
    with pytest.raises(type(error)):
        _play(clock, Deadline(10, clock), _steady(), turns)
    assert len(turns) == 1


def test_a_deadline_that_has_passed_sends_nothing() -> None:
    clock = Clock()
    deadline = Deadline(1, clock)
    clock.now += 1
    with pytest.raises(DeadlineExceeded, match="deadline of 1 s"):
        _play(clock, deadline, _steady(), [])


def test_the_transports_deadline_error_gets_the_whole_budget() -> None:
    clock = Clock()
    with pytest.raises(DeadlineExceeded, match="deadline of 2 s") as caught:
        _play(clock, Deadline(2, clock), _steady(), [_fail(DeadlineExceeded("here", "no answer"))])
    assert caught.value.deadline_s == 2


def _means(passes: bool) -> Meaning:
    def meaning(error: ModelNotFound) -> Steps[tuple[UnderstudyClientError, bool]]:
        yield Pause(0.0)
        return ModelNotReady(error.where, "LOADING"), passes

    return meaning


def test_a_model_that_is_not_found_for_a_moment_is_asked_again() -> None:
    clock = Clock()
    turns = [_fail(ModelNotFound("here", "unknown model")), lambda: "answer"]
    answer, pauses, _ = _play(clock, Deadline(10, clock), _steady(), turns, _means(True))
    assert (answer, pauses) == ("answer", pytest.approx([0.0, 0.1]))


@pytest.mark.parametrize(("passes", "asked"), [(True, 4), (False, 1)])
def test_what_not_found_means_is_told_in_the_end(passes: bool, asked: int) -> None:
    clock = Clock()
    turns = [_fail(ModelNotFound("here", "unknown model"))] * 9
    with pytest.raises(ModelNotReady, match="LOADING"):
        _play(clock, Deadline(10, clock), _steady(retries=3), turns, _means(passes))
    assert len(turns) == 9 - asked


def _late(clock: Clock, seconds: float) -> Callable[[], object]:
    def turn() -> object:
        clock.now += seconds
        raise DeadlineExceeded("here", "no answer")

    return turn


def test_an_attempt_that_is_not_answered_in_its_time_is_sent_again_at_once_and_the_last_has_all_that_is_left() -> None:
    clock = Clock()
    turns = [_late(clock, 2), _late(clock, 2), lambda: "answer"]
    backoff = Backoff(2, attempt_s=2.0)
    assert _play(clock, Deadline(10, clock), backoff, turns) == ("answer", [], pytest.approx([2, 2, 6]))


def test_attempts_end_with_the_deadline() -> None:
    clock = Clock()
    turns = [_late(clock, 2), _late(clock, 1), lambda: "never"]
    with pytest.raises(DeadlineExceeded, match="deadline of 3 s"):
        _play(clock, Deadline(3, clock), Backoff(5, attempt_s=2.0), turns)
    assert len(turns) == 1


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), "1"])
def test_a_deadline_is_finite_and_above_zero(seconds: float) -> None:
    with pytest.raises(InvalidRequest, match="finite number above 0"):
        Deadline(seconds)


def test_pauses_are_random_between_half_and_whole() -> None:
    assert Backoff(3, jitter=lambda: 0.0).pause(1) == pytest.approx(0.05)
    assert Backoff(3, jitter=lambda: 0.999).pause(1) < 0.1
    pauses = {Backoff(3).pause(2) for _ in range(20)}
    assert len(pauses) > 1
    assert all(0.1 <= pause <= 0.2 for pause in pauses)


def test_any_number_of_attempts_has_a_pause() -> None:
    assert Backoff(5000, jitter=lambda: 1.0).pause(5000) == 2.0
    assert Backoff(5000, first_s=1e-300, longest_s=1e300, jitter=lambda: 1.0).pause(1000) == 1e-300 * 2.0**999
    clock = Clock()
    backoff = Backoff(1100, first_s=0.001, longest_s=0.001)
    with pytest.raises(ServerUnavailable, match="after 1101 attempts"):
        _play(clock, Deadline(1e6, clock), backoff, [_fail(UNAVAILABLE)] * 1101)
