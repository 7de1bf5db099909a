"""Which arrangement is chosen, from what callers met."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversion.arrangements.arrangement import Arrangement
from conversion.arrangements.choice import MARGIN, Met, best, summarised

SAFE = Arrangement(2, 1, dynamic_batching=True, joined_rows=32)
OTHER = Arrangement(2, 1, dynamic_batching=False, joined_rows=1)
DEEP = Arrangement(1, 2, dynamic_batching=False, joined_rows=1)
MET = Met(one_p50_ms=10.0, one_p99_ms=12.0, per_s=200.0, p50_ms=40.0, p99_ms=80.0)
FACTOR = st.floats(0.1, 10)


def times(factor, met=MET):
    """What callers would meet of a server that is so many times as good in everything that counts."""
    return replace(met, one_p50_ms=met.one_p50_ms / factor, per_s=met.per_s * factor, p99_ms=met.p99_ms / factor)


def chosen(rounds, failures=None):
    return best(summarised(rounds, failures or {}))


@pytest.mark.parametrize(("factor", "expected"), [(1.04, SAFE), (1.06, OTHER), (0.5, SAFE), (1.0, SAFE)])
def test_the_safe_one_is_kept_unless_another_is_better_by_more_than_the_margin(factor, expected):
    assert chosen({SAFE: [MET] * 3, OTHER: [times(factor)] * 3}) == expected


@pytest.mark.parametrize("better", [{"one_p50_ms": 5.0}, {"per_s": 400.0}, {"p99_ms": 40.0}])
def test_one_client_throughput_and_the_slowest_of_many_count_alike(better):
    found = summarised({SAFE: [MET], OTHER: [replace(MET, **better)]}, {})
    assert found[1].gain == pytest.approx(2 ** (1 / 3))


def test_what_batching_gains_a_lone_client_does_not_see_and_a_p99_twice_as_long_outweighs_it():
    batching = replace(MET, per_s=MET.per_s * 1.1, p99_ms=MET.p99_ms * 2)
    assert chosen({SAFE: [batching] * 3, OTHER: [MET] * 3}) == OTHER


def test_of_several_that_are_better_the_best_is_chosen():
    assert chosen({SAFE: [MET] * 3, OTHER: [times(1.2)] * 3, DEEP: [times(1.3)] * 3}) == DEEP


def test_among_those_that_nobody_can_tell_apart_the_first_is_chosen():
    assert chosen({SAFE: [MET] * 3, OTHER: [times(1.2)] * 3, DEEP: [times(1.25)] * 3}) == OTHER
    assert chosen({SAFE: [MET] * 3, DEEP: [times(1.25)] * 3, OTHER: [times(1.2)] * 3}) == DEEP


@pytest.mark.parametrize(("factor", "split"), [(1.2, True), (1.0, True), (0.97, True), (0.9, False)])
def test_rows_are_split_unless_that_is_clearly_worse(factor, split):
    one = Arrangement(1, 2, dynamic_batching=False, joined_rows=4)
    own = replace(one, split_rows=True)
    for order in ((one, own), (own, one)):
        rounds = {SAFE: [MET] * 3} | {each: [times(1.3 * (factor if each is own else 1))] * 3 for each in order}
        assert chosen(rounds) == (own if split else one)
    # Where it is not a choice between the two, or one of them failed, nothing changes.
    assert chosen({SAFE: [times(1.5)] * 3, one: [MET] * 3, own: [MET] * 3}) == SAFE
    assert chosen({SAFE: [MET] * 3, one: [times(1.3)] * 3, own: []}, {own: "no"}) == one


def test_rounds_are_compared_one_by_one_since_a_machine_drifts():
    # Half the speed in each following round, for all of them alike: in each the other is a tenth better.
    drift = [times(factor) for factor in (1, 0.5, 0.25)]
    figures = summarised({SAFE: drift, OTHER: [times(1.1, met) for met in drift]}, {})
    assert figures[1].gain == pytest.approx(1.1)
    assert figures[1].gain_quartiles == pytest.approx((1.1, 1.1))
    assert best(figures) == OTHER


def test_lucky_rounds_of_a_disturbed_machine_choose_nothing():
    assert chosen({SAFE: [MET] * 3, OTHER: [times(0.7), times(1.1), times(3.0)]}) == SAFE
    assert chosen({SAFE: [MET] * 3, OTHER: [times(0.99), times(1.1), times(1.2)]}) == OTHER


def test_figures_are_medians_over_the_rounds():
    found = summarised({SAFE: [times(1), times(4), times(2)]}, {})[0]
    assert found.met == times(2)
    assert (found.rounds, found.gain, found.gain_quartiles) == (3, 1.0, (1.0, 1.0))


def test_an_arrangement_of_which_a_request_failed_loses_with_its_reason():
    figures = summarised({SAFE: [MET] * 3, OTHER: [times(9)] * 2}, {OTHER: "out of memory"})
    assert best(figures) == SAFE
    assert (figures[1].failure, figures[1].met, figures[1].gain) == ("out of memory", None, None)


def test_where_the_safe_one_failed_the_next_takes_its_place():
    rounds = {SAFE: [], OTHER: [MET] * 3, DEEP: [times(1.01)] * 3}
    assert chosen(rounds, {SAFE: "out of memory"}) == OTHER
    assert chosen({**rounds, DEEP: [times(1.2)] * 3}, {SAFE: "out of memory"}) == DEEP


def test_where_all_failed_none_is_chosen():
    assert chosen({SAFE: [], OTHER: []}, {SAFE: "no", OTHER: "no"}) is None


@given(st.lists(st.tuples(FACTOR, FACTOR, FACTOR), min_size=1, max_size=5), st.integers(1, 5), FACTOR)
def test_what_is_chosen_is_the_safe_one_or_clearly_better_whatever_the_machine_does(others, count, speed):
    """Scaling a whole round, as other processes do, changes no choice."""
    names = [SAFE, *(Arrangement(n, 1, dynamic_batching=True, joined_rows=32) for n in range(10, 10 + len(others)))]
    made = [Met(10 * one, 12 * one, 200 * rate, 40.0, 80 * tail) for one, rate, tail in [(1, 1, 1), *others]]
    plain = {name: [met] * count for name, met in zip(names, made, strict=True)}
    drifting = {name: [times(speed**n, met) for n, met in enumerate(rounds)] for name, rounds in plain.items()}
    figures = summarised(plain, {})
    gains = {one.arrangement: one.gain for one in figures}
    winner = best(figures)
    assert winner == SAFE or (gains[winner] > 1 + MARGIN and gains[winner] * (1 + MARGIN) >= max(gains.values()))
    assert winner != SAFE or max(gains.values()) <= 1 + MARGIN
    for one, other in zip(figures, summarised(drifting, {}), strict=True):
        assert other.gain == pytest.approx(one.gain)
