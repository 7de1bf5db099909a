import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.figures import (
    RATIOS,
    Limits,
    Measured,
    Round,
    broken_limits,
    compare,
    measured,
    percentile,
    report,
    spread,
    table,
)

LIMITS = Limits(throughput_ratio=0.95, p99_ratio=1.3, added_p50_ms=1.0)


def a_round(throughput=95.0, p50=10.5, p99=20.0, cpu=8.0, others=0.0):
    return Round(Measured(throughput, p50, p99, cpu), Measured(100.0, 10.0, 20.0, 7.5), others)


def test_a_percentile_is_a_value_that_was_seen():
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([float(n) for n in range(1, 101)], 0.99) == 99.0
    assert percentile([5.0], 0.99) == 5.0


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_covers_its_share_and_no_smaller_value_does(values, share):
    found = percentile(values, share)
    assert sum(v <= found for v in values) >= share * len(values) - 1e-9
    assert sum(v < found for v in values) < share * len(values) + 1e-9


def test_a_run_becomes_figures_in_ms_and_per_request():
    run = measured([0.010, 0.020, 0.030, 0.040], seconds=2.0, server_cpu_s=0.1)
    assert run == Measured(throughput=2.0, p50_ms=20.0, p99_ms=40.0, server_cpu_ms=25.0)


def test_a_spread_of_an_even_number_has_the_middle_between_the_middle_two():
    found = spread([4.0, 1.0, 2.0, 3.0])
    assert (found.median, found.min, found.max) == (2.5, 1.0, 4.0)


def test_ratios_are_taken_within_a_round():
    slow = Round(Measured(48.0, 21.0, 44.0, 8.5), Measured(50.0, 20.0, 40.0, 8.0), 0.5)
    compared = compare([a_round(throughput=96.0), slow])
    assert compared["throughput_ratio"].median == pytest.approx(0.96)
    assert compared["p99_ratio"].max == pytest.approx(1.1)
    assert compared["added_p50_ms"].min == pytest.approx(0.5)
    assert compared["added_server_cpu_ms"].median == pytest.approx(0.5)


def test_what_was_not_measured_is_no_zero():
    rounds = {8: [a_round(cpu=None, others=None)]}
    assert report(rounds, "added_server_cpu_ms") == {"8": None}
    assert report(rounds, "added_p50_ms")["8"]["median"] == pytest.approx(0.5)
    assert [line.split()[5] for line in table(rounds).splitlines()[1:]] == ["7.50", "-"]
    assert broken_limits(8, compare(rounds[8]), LIMITS) == []
    assert measured([0.1], 1.0, None).server_cpu_ms is None


@pytest.mark.parametrize("clients", [1, 8, 64])
def test_figures_at_the_limits_hold(clients):
    assert broken_limits(clients, compare([a_round(throughput=95.0, p50=11.0, p99=26.0)]), LIMITS) == []


def test_throughput_and_p99_count_with_several_clients_and_what_is_added_with_one():
    bad = compare([a_round(throughput=94.0, p50=11.1, p99=27.0)])
    assert broken_limits(1, bad, LIMITS) == ["1 client: the hybrid adds 1.10 ms, the limit is 1 ms"]
    assert broken_limits(8, bad, LIMITS) == [
        "8 clients: the hybrid keeps 94.0% of the throughput, the limit is 95.0%",
        "8 clients: p99 is 1.35 times the twin's, the limit is 1.3 times",
    ]


def test_the_report_has_each_number_of_clients_with_its_spread():
    rounds = {1: [a_round()], 8: [a_round(p99=20.0), a_round(p99=30.0)]}
    assert report(rounds, "p99_ratio") == {
        "1": {"median": 1.0, "min": 1.0, "max": 1.0},
        "8": {"median": 1.25, "min": 1.0, "max": 1.5},
    }
    assert set(RATIOS) >= {"throughput_ratio", "p99_ratio", "added_p50_ms"}


def test_the_table_shows_both_models_for_each_number_of_clients():
    lines = table({1: [a_round()], 64: [a_round()]}).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["1", "twin"],
        ["1", "hybrid"],
        ["64", "twin"],
        ["64", "hybrid"],
    ]
    assert "0.950 (0.950 to 0.950)" in lines[2]
