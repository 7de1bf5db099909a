import time

from conversion.timing import time_pair


def test_both_are_timed_in_turn_after_a_warm_up():
    calls = []
    timing = time_pair(lambda: calls.append("original"), lambda: calls.append("twin"), threads=2)
    assert calls[::2] == ["original"] * (3 + timing.rounds)
    assert calls[1::2] == ["twin"] * (3 + timing.rounds)
    assert timing.rounds == 15


def test_medians_lie_within_their_ranges_and_tell_the_faster_one():
    timing = time_pair(lambda: time.sleep(0.02), lambda: time.sleep(0.001), threads=1)
    assert timing.original_ms >= 20
    assert timing.original_range_ms[0] <= timing.original_ms <= timing.original_range_ms[1]
    assert timing.twin_range_ms[0] <= timing.twin_ms <= timing.twin_range_ms[1]
    assert timing.twin_ms < timing.original_ms
