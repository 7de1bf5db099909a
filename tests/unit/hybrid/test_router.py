"""Whom the router asks, and what it takes for an answer."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from python_backend.hybrid.batch import Answer, join
from python_backend.hybrid.breaker import State
from python_backend.hybrid.errors import BothFailed, HybridError, TwinFailed
from python_backend.hybrid.preference import Preference
from python_backend.hybrid.router import Router
from python_backend.hybrid.tally import Tally

from .conftest import Clock, Twins, batch_of, down, full, refuses


def answer(router, batch):
    """What a caller gets: the primary's answer, or the fallback's after its failure. Every ticket has its verdict."""
    tickets = {}
    try:
        answered = router.primary(batch, tickets)
        router.handed_on(batch, tickets, len(batch.members))
        return answered
    except TwinFailed as error:
        answered = router.fallback(batch, error, tickets)
        router.fell_back(batch, error, len(batch.members))
        return answered
    finally:
        assert all(ticket.told for ticket in tickets.values())


def nan_where(*values):
    def fault(batch, outputs):
        y = outputs["y"].copy()
        y[np.isin(batch.inputs()["x"][:, 0], values)] = np.nan
        return {"y": y}

    return fault


def test_the_preferred_twin_answers_alone(settings, twins, clock):
    got = answer(Router(settings, twins, clock), batch_of(1, 2))
    assert got.served_by == "onnx"
    assert got.outputs["y"].tolist() == [[2, 2], [4, 2]]
    assert twins.calls == [("onnx", [1, 2])]


def test_a_request_may_prefer_the_original(settings, twins, clock):
    assert answer(Router(settings, twins, clock), batch_of(1, prefer="original")).served_by == "original"
    assert [twin for twin, _ in twins.calls] == ["original"]


@pytest.mark.parametrize(
    "fault",
    [
        down,
        refuses,
        lambda batch, outputs: {},
        lambda batch, outputs: {"y": outputs["y"].astype(np.float64)},
        lambda batch, outputs: {"y": outputs["y"][:, :1]},
        lambda batch, outputs: {"y": np.concatenate([outputs["y"], outputs["y"]])},
        lambda batch, outputs: {"y": outputs["y"] * np.nan},
        lambda batch, outputs: {"y": outputs["y"] * np.inf},
    ],
    ids=["down", "refuses", "missing", "dtype", "width", "rows", "nan", "infinity"],
)
def test_the_original_answers_whatever_is_wrong_with_the_twin(settings, twins, clock, fault):
    twins.faults["onnx"] = fault
    got = answer(Router(settings, twins, clock), batch_of(1, 2))
    assert got.served_by == "original"
    assert got.outputs["y"].tolist() == [[2, 2], [4, 2]]


def test_rows_that_are_not_finite_fall_back_alone(settings, twins, clock):
    twins.faults["onnx"] = nan_where(2)
    got = answer(Router(settings, twins, clock), batch_of(1, 2, 3))
    assert got.served_by.tolist() == ["onnx", "original", "onnx"]
    assert got.outputs["y"].tolist() == [[2, 2], [4, 2], [6, 2]]
    assert twins.calls == [("onnx", [1, 2, 3]), ("original", [2])]


@pytest.mark.parametrize("values", [(1, 2, 3), (2,)])
def test_what_the_original_says_stands_even_where_it_is_not_finite(settings, twins, clock, values):
    twins.faults = {"onnx": nan_where(2), "original": nan_where(2)}
    for prefer in ("onnx", "original"):
        got = answer(Router(settings, twins, clock), batch_of(*values, prefer=prefer))
        assert np.isnan(got.outputs["y"][:, 0]).tolist() == [value == 2 for value in values]
        served = np.broadcast_to(np.asarray(got.served_by, object), len(values)).tolist()
        assert served == ["original" if value == 2 else prefer for value in values]


def test_an_answer_is_a_twins_where_every_row_is(settings, twins, clock):
    twins.faults["onnx"] = nan_where(2)
    got = answer(Router(settings, twins, clock), batch_of(1, 2, 2))
    assert not got.is_by("onnx")
    assert got.slice(0, 1).served_by == "onnx"
    assert got.slice(1, 3).served_by == "original"
    assert got.slice(0, 2).served_by.tolist() == ["onnx", "original"]
    assert answer(Router(settings, twins, clock), batch_of(1)).is_by("onnx")


def test_outputs_that_may_be_anything_are_handed_on(settings, twins, clock):
    free = replace(settings, outputs={"y": replace(settings.outputs["y"], finite=False)})
    twins.faults["onnx"] = nan_where(1)
    assert answer(Router(free, twins, clock), batch_of(1)).served_by == "onnx"


def test_when_both_fail_both_causes_are_named(settings, twins, clock):
    twins.faults = {"onnx": down, "original": refuses}
    with pytest.raises(BothFailed, match=r"model is not ready.*cannot compute this") as caught:
        answer(Router(settings, twins, clock), batch_of(1))
    assert not caught.value.unavailable


def test_when_neither_can_be_asked_the_answer_is_unavailable(settings, twins, clock):
    twins.faults = {"onnx": down, "original": down}
    with pytest.raises(BothFailed) as caught:
        answer(Router(settings, twins, clock), batch_of(1))
    assert caught.value.unavailable


def test_a_copy_finds_out_whether_an_ill_twin_is_well_while_the_other_one_answers(settings, twins, clock):
    tasks = []
    router = Router(settings, twins, clock, aside=tasks.append)
    twins.faults["onnx"] = down
    assert answer(router, batch_of(1)).served_by == "original"
    clock.now += 2
    batch = batch_of(2)
    assert answer(router, batch).served_by == "original"
    batch.inputs()["x"][:] = 9
    assert [twin for twin, _ in twins.calls] == ["onnx", "original", "original"]
    assert answer(router, batch_of(3)).served_by == "original", "one copy at a time"
    (probe,) = tasks
    probe()
    assert twins.calls[-1] == ("onnx", [2])
    assert router.breakers["onnx"].state is State.OPEN
    twins.faults.clear()
    clock.now += 4
    answer(router, batch_of(4))
    tasks[1]()
    assert router.breakers["onnx"].state is State.CLOSED
    assert answer(router, batch_of(5)).served_by == "onnx"


def test_where_nobody_else_is_well_the_request_itself_finds_out(settings, twins, clock):
    tasks = []
    router = Router(settings, twins, clock, aside=tasks.append)
    twins.faults = {"onnx": down, "original": down}
    with pytest.raises(BothFailed):
        answer(router, batch_of(1))
    twins.faults.clear()
    clock.now += 2
    assert answer(router, batch_of(2)).served_by == "onnx"
    assert tasks == []


def test_a_copy_finds_out_as_well_whether_the_twin_is_well_that_nobody_asks(settings, twins, clock):
    tasks = []
    router = Router(settings, twins, clock, aside=tasks.append)
    twins.faults = {"onnx": nan_where(1), "original": down}
    with pytest.raises(BothFailed):
        answer(router, batch_of(1))
    assert not router.at_rest
    answer(router, batch_of(2))
    assert tasks == [], "its pause is not over"
    clock.now += 2
    assert answer(router, batch_of(3)).served_by == "onnx"
    answer(router, batch_of(4))
    (probe,) = tasks
    probe()
    assert router.breakers["original"].state is State.OPEN
    twins.faults.clear()
    clock.now += 4
    answer(router, batch_of(5))
    tasks[1]()
    assert twins.calls[-2:] == [("onnx", [5]), ("original", [5])]
    assert router.at_rest
    answer(router, batch_of(6))
    assert len(tasks) == 2


def test_who_falls_back_asks_a_twin_whose_pause_is_over_though_the_first_one_is_well(settings, twins, clock):
    """Hours after the original was away for a moment: the one row that the ONNX twin cannot answer is not refused."""
    tasks = []
    router = Router(settings, twins, clock, aside=tasks.append)
    twins.faults = {"onnx": nan_where(1), "original": down}
    with pytest.raises(BothFailed):
        answer(router, batch_of(1))
    del twins.faults["original"]
    clock.now += 7200
    assert router.breakers["onnx"].state is State.CLOSED
    assert answer(router, batch_of(1)).served_by == "original"
    assert tasks == []
    assert router.at_rest


@pytest.mark.parametrize(("prefer", "ill"), [("onnx", "onnx"), ("onnx", "original"), ("original", "onnx")])
def test_a_copy_that_is_answered_later_than_callers_would_wait_is_a_failure(settings, twins, clock, prefer, ill):
    """By what the model gives a twin: the caller whose request is copied may be in more of a hurry."""
    tasks = []
    router = Router(replace(settings, deadline_s=8.0, primary_budget_s=4.0), twins, clock, aside=tasks.append)
    ticket = router.breakers[ill].admit()
    ticket.failed("it was gone", gone=True)
    for took_s, state in ((4.1, State.OPEN), (3.9, State.CLOSED)):
        clock.now += 10
        limit = {"deadline_s": 0.02, "primary_budget_s": 0.01}

        def takes(batch, outputs, took_s=took_s):
            clock.now += took_s
            return outputs

        twins.faults[ill] = None
        answer(router, batch_of(1, prefer=prefer, **limit))
        twins.faults[ill] = takes
        tasks.pop()()
        assert router.breakers[ill].state is state


@pytest.mark.parametrize(("original", "pause_s"), [(refuses, 1.0), (None, 2.0)], ids=["neither", "it alone"])
def test_a_copy_that_neither_twin_can_answer_says_nothing_about_the_one_that_is_probed(
    settings, twins, clock, original, pause_s
):
    """Else a client whose requests nobody can answer would keep a twin that is back away from all others."""
    tasks = []
    router = Router(settings, twins, clock, dice=lambda: 0.5, aside=tasks.append)
    router.breakers["onnx"].admit().failed("it was gone", gone=True)
    clock.now += 1.01
    answer(router, batch_of(1))
    twins.faults = {"onnx": refuses, "original": original}
    tasks.pop()()
    assert router.breakers["onnx"].state is State.OPEN
    twins.faults.clear()
    clock.now += pause_s - 0.02
    answer(router, batch_of(2))
    assert tasks == []
    clock.now += 0.04
    answer(router, batch_of(3))
    tasks.pop()()
    assert router.breakers["onnx"].state is State.CLOSED


def test_where_no_thread_can_be_started_for_a_copy_the_request_is_answered_all_the_same(settings, twins, clock):
    def aside(task):
        raise RuntimeError("can't start new thread")

    router = Router(settings, twins, clock, aside=aside)
    for ill, well in (("onnx", "original"), ("original", "onnx")):
        router.breakers[ill].admit().failed("it was gone", gone=True)
        clock.now += 2
        assert answer(router, batch_of(1)).served_by == well
        assert router.breakers[ill].state is State.OPEN
        router.breakers[ill]._state = State.CLOSED


def test_a_copy_that_does_not_return_keeps_others_back_for_a_minute(settings, twins, clock):
    tasks = []
    router = Router(settings, twins, clock, aside=tasks.append)
    twins.faults["onnx"] = down
    for seconds in (0, 2, 10, 10):
        clock.now += seconds
        answer(router, batch_of(1))
    assert len(tasks) == 1
    assert not router.admits("onnx"), "who waits for the twin would ask in vain, again and again"
    clock.now += 60
    assert router.admits("onnx")
    answer(router, batch_of(1))
    assert len(tasks) == 2


def test_the_longer_a_twin_hangs_the_rarer_it_is_asked_and_once_its_calls_return_as_before(settings, twins, clock):
    """Each copy keeps a thread of Triton's, of those that calls to the other twin need as well."""
    tasks = []
    router = Router(settings, twins, clock, aside=tasks.append)
    twins.faults["onnx"] = down
    answer(router, batch_of(1))
    for _ in range(24 * 60):
        clock.now += 60
        answer(router, batch_of(1))
    assert 10 <= len(tasks) <= 12
    assert not router.admits("onnx")
    tasks[-1]()
    assert not router.admits("onnx"), "those before it have not returned"
    for task in tasks[:-1]:
        task()
    clock.now += 70
    assert router.admits("onnx")
    twins.faults.clear()
    answer(router, batch_of(1))
    tasks[-1]()
    assert router.breakers["onnx"].state is State.CLOSED


def test_who_is_gone_is_told_to_those_that_wait_for_it(settings, twins, clock):
    gone = []
    router = Router(settings, twins, clock, when_gone=gone.append)
    answer(router, batch_of(1))
    twins.faults["onnx"] = refuses
    answer(router, batch_of(2))
    twins.faults["onnx"] = down
    answer(router, batch_of(3))
    assert gone == ["onnx"]


def test_that_a_twin_was_gone_is_old_news_once_another_one_serves(settings, twins, clock):
    """Triton tells the calls to a process that died one by one, a second each."""
    gone = []
    router = Router(settings, twins, clock, when_gone=gone.append)
    told_late = []

    def tells_late(batch, outputs):
        told_late.append(batch)
        if len(told_late) == 1:
            # While this call waits, another one hears of it, and the twin is loaded anew.
            twins.faults["onnx"] = down
            answer(router, batch_of(2))
            twins.faults.clear()
            clock.now += 2
            answer(router, batch_of(3))
        return down(batch, outputs)

    twins.faults["onnx"] = tells_late
    assert answer(router, batch_of(1)).served_by == "original"
    assert gone == ["onnx"]
    assert router.breakers["onnx"].state is State.CLOSED


def test_a_twin_in_quarantine_is_not_asked_even_where_the_other_one_fails(settings, twins, clock):
    tally = Tally()
    router = Router(settings, twins, clock, tally)
    assert router.at_rest
    router.quarantine("onnx", "it lies")
    assert answer(router, batch_of(1)).served_by == "original"
    twins.faults["original"] = refuses
    with pytest.raises(BothFailed, match=r"onnx: it is in quarantine: it lies; twin: cannot compute this"):
        answer(router, batch_of(1))
    assert [twin for twin, _ in twins.calls] == ["original", "original"]
    assert tally.drain()["ml_backend_selected", "original", "quarantined"] == 1


def test_without_fallback_the_twins_own_failure_is_told(settings, twins, clock):
    twins.faults["onnx"] = refuses
    with pytest.raises(TwinFailed, match="cannot compute this"):
        answer(Router(replace(settings, fallback_enabled=False), twins, clock), batch_of(1))
    assert [twin for twin, _ in twins.calls] == ["onnx"]


def test_the_twin_never_answers_for_the_original_with_values_that_are_not_finite(settings, twins, clock):
    twins.faults = {"original": refuses, "onnx": nan_where(1)}
    with pytest.raises(BothFailed, match="rows are not finite"):
        answer(Router(settings, twins, clock), batch_of(1, prefer="original"))


def test_a_twin_that_is_gone_is_left_alone_then_probed_by_one(settings, twins, clock):
    twins.faults["onnx"] = down
    router = Router(settings, twins, clock, dice=lambda: 0.5)
    for _ in range(5):
        assert answer(router, batch_of(1)).served_by == "original"
    assert [twin for twin, _ in twins.calls].count("onnx") == 1
    clock.now += 1.01
    for _ in range(5):
        answer(router, batch_of(1))
    assert [twin for twin, _ in twins.calls].count("onnx") == 2
    twins.faults.clear()
    clock.now += 2.01
    assert [answer(router, batch_of(1)).served_by for _ in range(3)] == ["onnx"] * 3


@pytest.mark.parametrize(("gone", "stays"), [("onnx", "original"), ("original", "onnx")])
def test_each_twin_has_a_breaker_of_its_own(settings, twins, clock, gone, stays):
    twins.faults[gone] = down
    router = Router(settings, twins, clock, dice=lambda: 0.5)
    for _ in range(3):
        assert answer(router, batch_of(1, prefer=gone)).served_by == stays
        assert answer(router, batch_of(1, 2, 3, prefer=stays)).served_by == stays
    assert [twin for twin, _ in twins.calls].count(gone) == 1
    assert router.breakers[stays].state is State.CLOSED
    twins.faults.clear()
    clock.now += 1.01
    assert answer(router, batch_of(1, prefer=gone)).served_by == gone


@pytest.mark.parametrize("fault", [refuses, full, nan_where(1), lambda batch, outputs: {}])
def test_a_twin_that_fails_five_times_where_the_other_answers_is_left_alone(settings, twins, clock, fault):
    twins.faults["onnx"] = fault
    router = Router(settings, twins, clock)
    for _ in range(8):
        assert answer(router, batch_of(1)).served_by == "original"
    assert [twin for twin, _ in twins.calls].count("onnx") == 5
    assert router.breakers["onnx"].state is State.OPEN


@pytest.mark.parametrize("fault", [refuses, full, lambda batch, outputs: {}])
def test_requests_that_neither_can_answer_open_no_breaker(settings, twins, clock, fault):
    twins.faults = {"onnx": fault, "original": fault}
    router = Router(settings, twins, clock)
    for _ in range(30):
        with pytest.raises(BothFailed):
            answer(router, batch_of(1))
    assert {breaker.state for breaker in router.breakers.values()} == {State.CLOSED}


def test_rows_that_the_original_finds_not_finite_either_are_not_the_twins_fault(settings, twins, clock):
    twins.faults = {"onnx": nan_where(1), "original": nan_where(1)}
    router = Router(settings, twins, clock)
    for _ in range(30):
        assert answer(router, batch_of(1)).served_by == "original"
    assert router.breakers["onnx"].state is State.CLOSED


def test_one_bad_row_among_good_ones_is_not_held_against_the_twin(settings, twins, clock):
    twins.faults["onnx"] = nan_where(2)
    router = Router(settings, twins, clock)
    for _ in range(30):
        answer(router, batch_of(1, 2, 3))
    assert router.breakers["onnx"].state is State.CLOSED


def test_without_fallback_only_a_twin_that_is_gone_is_left_alone(settings, twins, clock):
    alone = replace(settings, fallback_enabled=False)
    for fault, state in ((refuses, State.CLOSED), (nan_where(1), State.CLOSED), (down, State.OPEN)):
        twins.faults["onnx"] = fault
        router = Router(alone, twins, clock)
        for _ in range(8):
            with pytest.raises(TwinFailed):
                answer(router, batch_of(1))
        assert router.breakers["onnx"].state is state


def test_what_was_done_is_counted(settings, twins, clock):
    tally = Tally()
    router = Router(settings, twins, clock, tally)
    answer(router, batch_of(1))
    answer(router, batch_of(1, prefer="original"))
    twins.faults["onnx"] = nan_where(2)
    answer(router, batch_of(1, 2, 3))
    for fault in (lambda batch, outputs: {}, refuses, down):
        twins.faults["onnx"] = fault
        answer(router, batch_of(1))
    answer(router, batch_of(1))
    router.late("original", {}, 1.0)
    counted = {series: amount for series, amount in tally.drain().items() if "duration" not in series[0]}
    assert counted == {
        ("ml_backend_selected", "onnx", "preferred"): 2,
        ("ml_backend_selected", "original", "preferred"): 1,
        ("ml_backend_selected", "original", "rows"): 1,
        ("ml_backend_selected", "original", "malformed"): 1,
        ("ml_backend_selected", "original", "error"): 1,
        ("ml_backend_selected", "original", "gone"): 1,
        ("ml_backend_selected", "original", "open"): 1,
        ("ml_inference_failures_total", "onnx", "rows"): 1,
        ("ml_inference_failures_total", "onnx", "malformed"): 1,
        ("ml_inference_failures_total", "onnx", "error"): 1,
        ("ml_inference_failures_total", "onnx", "gone"): 1,
        ("ml_breaker_opened_total", "onnx"): 1,
        ("ml_deadline_missed_total", "original"): 1,
    }


def test_the_calls_of_a_twin_are_timed_whatever_comes_of_them(settings, twins, clock):
    tally = Tally()
    router = Router(settings, twins, clock, tally)

    def slow_and_wrong(batch, outputs):
        clock.now += 0.03
        assert router.falling_back == 0
        return {}

    def slow(batch, outputs):
        clock.now += 0.3
        assert router.falling_back == 1
        return outputs

    twins.faults = {"onnx": slow_and_wrong, "original": slow}
    answer(router, batch_of(1))
    assert router.falling_back == 0
    counted = tally.drain()
    for twin, seconds, edge, below in (("onnx", 0.03, "0.05", "0.025"), ("original", 0.3, "0.5", "0.25")):
        assert counted["ml_inference_duration_seconds_count", twin] == 1
        assert counted["ml_inference_duration_seconds_sum", twin] == pytest.approx(seconds)
        assert counted["ml_inference_duration_seconds_bucket", twin, edge] == 1
        assert counted["ml_inference_duration_seconds_bucket", twin, below] == 0
        assert counted["ml_inference_duration_seconds_bucket", twin, "+Inf"] == 1


def test_with_both_breakers_open_nobody_is_asked_and_both_causes_are_named(settings, twins, clock):
    twins.faults = {"onnx": down, "original": down}
    router = Router(settings, twins, clock)
    with pytest.raises(BothFailed):
        answer(router, batch_of(1))
    asked = len(twins.calls)
    with pytest.raises(BothFailed, match=r"onnx: its circuit breaker is open, .*original: its circuit breaker") as both:
        answer(router, batch_of(1))
    assert both.value.unavailable
    assert len(twins.calls) == asked


def test_three_late_calls_open_the_breaker(settings, twins, clock):
    router = Router(settings, twins, clock)
    for _ in range(3):
        assert router.breakers["onnx"].state is State.CLOSED
        tickets = {}
        router.primary(batch_of(1), tickets)
        router.handed_on(batch_of(1), tickets, 1)
        # The verdict was told already: being late comes too late.
        router.late("onnx", tickets, 5.0)
    for _ in range(3):
        ticket = router.breakers["onnx"].admit()
        assert "within its budget of 5000 ms" in str(router.late("onnx", {"onnx": ticket}, 5.0))
    assert router.breakers["onnx"].state is State.OPEN


FAULTS = st.sampled_from(
    [None, down, refuses, nan_where(1), nan_where(2, 3), lambda b, o: {}, lambda b, o: {"y": o["y"][:1]}]
)


@given(
    steps=st.lists(
        st.tuples(
            FAULTS, FAULTS, st.lists(st.integers(1, 4), min_size=1, max_size=6), st.sampled_from(["onnx", "original"])
        ),
        max_size=12,
    )
)
def test_whatever_happens_an_answer_is_right_or_there_is_none(steps):
    """A row of an answer is the double of its input, or not finite only where the original itself said so."""
    from python_backend.hybrid.settings import OutputSpec, Settings

    settings = Settings(
        {},
        Preference((1,), ("onnx",)),
        True,
        10.0,
        5.0,
        4,
        2,
        8,
        2,
        64,
        1000,
        None,
        True,
        frozenset({"x"}),
        {"y": OutputSpec(np.dtype(np.float32), (2,), True)},
    )
    clock, twins = Clock(), Twins()
    router = Router(settings, twins, clock)
    for onnx, original, values, prefer in steps:
        twins.faults = {"onnx": onnx, "original": original}
        clock.now += 0.7
        try:
            got = answer(router, batch_of(*values, prefer=prefer))
        except HybridError:
            assert onnx is not None or router.breakers["onnx"].state is not State.CLOSED or original is not None
            continue
        served = np.broadcast_to(np.asarray(got.served_by, object), len(values))
        for row, value, twin in zip(got.outputs["y"], values, served, strict=True):
            if np.isfinite(row).all():
                assert row.tolist() == [value * 2, 2]
            else:
                assert twin == "original"


def test_rows_of_a_group_that_fall_back_belong_to_their_own_callers(settings, twins, clock):
    twins.faults["onnx"] = nan_where(2, 5)
    seen = []
    twins.faults["original"] = lambda batch, outputs: seen.append(batch.callers) or outputs
    group = join([batch_of(1, 2), batch_of(3, 4), batch_of(5)])
    got = answer(Router(settings, twins, clock), group)
    assert got.outputs["y"][:, 0].tolist() == [2, 4, 6, 8, 10]
    assert got.served_by.tolist() == ["onnx", "original", "onnx", "onnx", "original"]
    assert twins.calls[-1] == ("original", [2, 5])
    assert seen == [[(1, 2), (5,)]]


@pytest.mark.parametrize("spoilt", ["y", "z"])
@pytest.mark.parametrize("original", [None, down], ids=["well", "down"])
def test_a_row_falls_back_for_the_outputs_that_its_own_caller_asks_for(settings, clock, spoilt, original):
    """Callers that share a call may ask for different outputs; each twin gives those that it is asked for."""
    calls = []

    def ask(twin, batch):
        calls.append((twin, batch.callers, batch.asked))
        if twin == "original" and original:
            original(batch, {})
        x = batch.inputs()["x"]
        outputs = {name: x * factor for name, factor in (("y", 2), ("z", 3)) if name in batch.asked}
        if twin == "onnx":
            outputs[spoilt][x[:, 0] == 1] = np.nan
        return Answer(outputs, twin)

    both = replace(settings, outputs={name: settings.outputs["y"] for name in ("y", "z")})
    of_y, of_both = batch_of(1), replace(batch_of(2), asked=frozenset({"y", "z"}))
    group = join([of_y, of_both])
    if spoilt == "y" and original:
        with pytest.raises(BothFailed):
            answer(Router(both, ask, clock), group)
        return
    got = answer(Router(both, ask, clock), group)
    assert got.slice(0, 1).outputs["y"].tolist() == [[2, 2]]
    assert {name: values.tolist() for name, values in got.slice(1, 2).outputs.items()} == {"y": [[4, 2]], "z": [[6, 3]]}
    assert [got.slice(row, row + 1).served_by for row in (0, 1)] == ["original" if spoilt == "y" else "onnx", "onnx"]
    first, *others = calls
    assert first == ("onnx", [(1,), (2,)], {"y", "z"})
    assert others == ([("original", [(1,)], {"y"})] if spoilt == "y" else []), "nobody asks for z of the first row"


def test_credit_for_an_answer_is_given_once_it_has_been_handed_on(settings, twins, clock):
    tally, tickets, batch = Tally(), {}, batch_of(1)
    router = Router(settings, twins, clock, tally)
    router.primary(batch, tickets)
    assert ("ml_backend_selected", "onnx", "preferred") not in tally.drain()
    assert not tickets["onnx"].told
    router.handed_on(batch, tickets, 1)
    assert tally.drain() == {("ml_backend_selected", "onnx", "preferred"): 1}
    assert tickets["onnx"].told


def test_a_twin_is_told_to_be_well_by_a_good_copy_alone(settings, twins, clock):
    well, tasks = [], []
    router = Router(settings, twins, clock, aside=tasks.append, when_well=well.append)
    twins.faults["onnx"] = down
    answer(router, batch_of(1))
    for fault in (down, nan_where(1), lambda _batch, outputs: outputs):
        twins.faults["onnx"] = fault
        clock.now += 60
        answer(router, batch_of(1))
        assert well == []
        tasks.pop()()
    assert well == ["onnx"]
    answer(router, batch_of(1))
    assert well == ["onnx"], "a call that a caller waited for tells nothing of those that hang"


@pytest.mark.parametrize(
    ("aside", "verdicts", "state"),
    [
        ([].append, ["late"], State.OPEN),
        (None, ["late"], State.CLOSED),
        ([].append, [], State.CLOSED),
        ([].append, ["late", "right"], State.CLOSED),
    ],
    ids=["late", "no copies", "callers in a hurry", "well again"],
)
def test_a_crowded_twin_that_is_to_blame_is_left_to_copies(settings, twins, clock, aside, verdicts, state):
    router = Router(settings, twins, clock, aside=aside)
    breaker = router.breakers["onnx"]
    for verdict in verdicts:
        ticket = breaker.admit()
        ticket.succeeded() if verdict == "right" else ticket.failed("slow", late=True)
    assert router.crowded("onnx").kind == "crowded"
    assert breaker.state is state
    router.crowded("onnx")
    clock.now += 1.2
    assert breaker.admits, "the pause is not the longer for it"
