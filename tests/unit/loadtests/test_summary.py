from collections import Counter
from types import SimpleNamespace

import pytest

from loadtests.summary import percentile, summary_of, uncounted


def entry(name, times, failures=0, by_second=None, slowest=None):
    return SimpleNamespace(
        name=name,
        response_times=times,
        num_requests=sum(times.values()),
        num_failures=failures,
        max_response_time=max(times, default=0) if slowest is None else slowest,
        num_reqs_per_sec=by_second or {},
    )


def stats(*entries, errors=(), start=100.0, last=110.0):
    return SimpleNamespace(
        entries={(each.name, "gRPC"): each for each in entries},
        errors={number: error for number, error in enumerate(errors)},
        total=SimpleNamespace(start_time=start, last_request_timestamp=last),
    )


def test_answers_are_told_by_who_gave_them_and_apart_from_what_was_refused_or_failed():
    found = summary_of(
        stats(
            entry("m by onnx", {10: 90}, failures=1, by_second={101: 40, 100: 50}),
            entry("m by original", {200: 10}, by_second={101: 10}),
            entry("m refused", {1: 50}, failures=50),
            entry("m failed", {30000: 3}, failures=3),
            errors=[SimpleNamespace(name="m failed", error="Failed('gone')", occurrences=3)],
        )
    )
    assert (found["answers"], found["refused"], found["failed"], found["wrong"]) == (100, 50, 3, 1)
    assert found["served_by"] == {"onnx": 90, "original": 10}
    assert found["answers_per_second"] == pytest.approx(10.0)
    assert (found["p50_ms"], found["p95_ms"], found["slowest_ms"]) == (10.0, 200.0, 200)
    assert found["refused_p50_ms"] == 1.0
    assert found["by_second"] == {"onnx": {"100": 50, "101": 40}, "original": {"101": 10}}
    assert (found["counted_from"], found["counted_until"]) == (100.0, 110.0)
    assert found["errors"] == [{"of": "m failed", "said": "Failed('gone')", "times": 3}]


def test_a_model_that_does_not_tell_who_answered_answered_itself():
    found = summary_of(stats(entry("m_onnx", {10: 5})))
    assert (found["served_by"], found["answers"]) == ({"": 5}, 5)


def test_where_nobody_answered_no_time_is_known():
    found = summary_of(stats(entry("m failed", {9: 4})))
    assert (found["answers"], found["p99_ms"], found["slowest_ms"], found["failed"]) == (0, None, None, 4)
    nothing = summary_of(stats(last=None))
    assert (nothing["answers_per_second"], nothing["counted_until"]) == (0.0, None)


def test_no_percentile_is_above_the_slowest_though_locust_rounds_it_up():
    found = summary_of(stats(entry("m by onnx", {90: 1, 150: 1}, slowest=146.2)))
    assert (found["p50_ms"], found["p95_ms"], found["p99_ms"], found["slowest_ms"]) == (90.0, 146.2, 146.2, 146.2)


@pytest.mark.parametrize(("part", "time"), [(0.5, 10), (0.9, 10), (0.91, 20), (1.0, 30)])
def test_a_percentile_is_the_time_that_so_many_answers_did_not_exceed(part, time):
    assert percentile(Counter({10: 90, 20: 9, 30: 1}), part) == time


def test_what_users_did_not_count_themselves_is_told_by_how_often_it_was():
    seen = {7: {"count": 3, "msg": "Incomplete response.", "traceback": "…", "nodes": {"local"}}}
    assert uncounted(seen) == [{"said": "Incomplete response.", "times": 3}]
    assert uncounted({}) == []
