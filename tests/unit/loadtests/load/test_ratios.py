"""The hybrid beside whatever else as many users asked."""

import pytest

from loadtests.load.ratios import not_compared, ratios


def stage(kind, users, rate, p99, *, fault=None, answers=100, wrong=0, refused=0, failed=0):
    return {
        "kind": kind,
        "users": users,
        "answers": answers,
        "wrong": wrong,
        "refused": refused,
        "failed": failed,
        "answers_per_second": rate,
        "p99_ms": p99,
        "fault": fault,
    }


def test_the_hybrid_is_compared_with_each_other_kind_at_the_same_number_of_users():
    stages = [
        stage("HybridGrpc", 8, 90.0, 100.0),
        stage("FastApiHttp", 8, 100.0, 80.0),
        stage("InProcess", 8, 120.0, 50.0),
        stage("HybridGrpc", 500, 80.0, 4000.0),
        stage("FastApiHttp", 500, 40.0, 8000.0),
    ]
    assert ratios(stages) == [
        {"users": 8, "to": "FastApiHttp", "answers_per_second": 0.9, "p99_ms": 1.25},
        {"users": 8, "to": "InProcess", "answers_per_second": 0.75, "p99_ms": 2.0},
        {"users": 500, "to": "FastApiHttp", "answers_per_second": 2.0, "p99_ms": 0.5},
    ]


def test_a_stage_with_a_fault_or_without_an_answer_is_no_measure():
    stages = [
        stage("HybridGrpc", 8, 90.0, 100.0, fault={"killed_at": 1.0}),
        stage("HybridGrpc", 1, 90.0, 100.0),
        stage("OriginalGrpc", 1, 0.0, None, answers=0),
        stage("FastApiHttp", 8, 100.0, 80.0),
        stage("InProcess", 1, 900.0, 1.0, wrong=1),
    ]
    assert ratios(stages) == []


@pytest.mark.parametrize("change", [{"refused": 99_000}, {"failed": 1}])
def test_who_turned_callers_away_is_not_told_as_fast(change):
    """Its times are those of the few that it answered."""
    hybrid, rival = stage("HybridGrpc", 8, 100.0, 300.0), stage("FastApiHttp", 8, 100.0, 9000.0)
    assert ratios([hybrid | change, rival]) == []
    assert ratios([hybrid, rival | change]) == []
    assert len(ratios([hybrid, rival])) == 1


def test_it_is_told_who_is_not_compared_and_why():
    stages = [
        stage("HybridGrpc", 8, 90.0, 100.0, answers=1000, refused=98_000, failed=1000, wrong=7),
        stage("FastApiHttp", 8, 100.0, 80.0),
        stage("HybridGrpc", 1, 90.0, 100.0),
        stage("InProcess", 1, 0.0, None, answers=0),
        stage("OriginalGrpc", 1, 10.0, 900.0, failed=3),
        stage("HybridGrpc", 2, 90.0, 100.0, failed=3),
        stage("HybridGrpc", 8, 90.0, 100.0, fault={"killed_at": 1.0}, failed=3),
    ]
    assert not_compared(stages) == [
        "8 users: hybrid is left out of the comparison: of 100000 requests, 98000 refused, 1000 failed, 7 wrong",
        "1 user: ONNX Runtime alone is left out of the comparison: it answered nobody",
    ]
