"""What of a run counts under a limit, and how two of them compare."""

import math

import pytest

from conversion.arrangements.arrangement import Arrangement
from conversion.arrangements.callers import Window
from conversion.tuning.run import Run, best_level, gains, rank, spread

ONE = Arrangement(1, 2, dynamic_batching=False, joined_rows=4)


def run(levels, failure=""):
    """By numbers of clients: rounds of (answers in a second, milliseconds of each)."""
    made = Run(ONE, failure=failure)
    for clients, rounds in levels.items():
        made.windows[clients] = [Window((float(ms),) * count, 1.0) for count, ms in rounds]
    return made


def test_percentiles_are_of_all_rounds_together_and_answers_the_median_round():
    made = Run(ONE, {8: [Window(tuple(map(float, range(1, 101))), 2.0), Window((500.0,), 1.0)]})
    (level,) = made.levels
    assert (level.clients, level.per_s, level.p50_ms, level.p99_ms) == (8, 25.5, 51.0, 100.0)


def test_the_most_answers_within_the_limit_count():
    made = run({1: [(90, 10)], 8: [(120, 80)], 32: [(130, 300)]})
    assert best_level(made, 100.0).clients == 8
    assert best_level(made, 1000.0).clients == 32
    assert best_level(made, 5.0) is None
    assert best_level(run({1: [(90, 10)]}, failure="no"), 100.0) is None


def test_who_keeps_the_limit_ranks_before_who_does_not_and_who_fails_last():
    kept, near, far = run({1: [(10, 50)]}), run({1: [(900, 150)]}), run({1: [(900, 200)], 8: [(1000, 400)]})
    failed = run({1: [(900, 10)]}, failure="no")
    ranked = sorted((far, failed, kept, near), key=lambda one: rank(one, 100.0), reverse=True)
    assert ranked == [kept, near, far, failed]
    assert rank(failed, 100.0) == (0.0, -math.inf)


def test_runs_are_compared_round_by_round_each_at_its_best_number_of_clients():
    base = run({1: [(50, 10), (100, 10)], 8: [(60, 500), (120, 500)]})
    new = run({1: [(10, 10), (10, 10)], 8: [(75, 50), (200, 50)]})
    assert gains(new, base, 100.0) == [1.5, 2.0]
    assert gains(new, run({1: [(50, 500), (50, 500)]}), 100.0) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([1.5], {"median": 1.5, "low": 1.5, "high": 1.5}),
        ([1.0, 2.0, 3.0, 4.0, 5.0], {"median": 3.0, "low": 2.0, "high": 4.0}),
    ],
)
def test_quartiles(values, expected):
    assert spread(values) == expected
