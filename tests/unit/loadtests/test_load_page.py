import copy
import json
import re

import pytest

from loadtests.load.__main__ import main
from loadtests.load.lines import line_of
from loadtests.report.page import load_page


def stage(kind, users, **change):
    return {
        "kind": kind,
        "users": users,
        "asked_first": "onnx",
        "answers": 1234,
        "answers_per_second": 123.4,
        "refused": 7,
        "failed": 5,
        "wrong": 3,
        "served_by": {"onnx": 1000, "original": 234},
        "seconds": 10.0,
        "p50_ms": 11.0,
        "p95_ms": 22.0,
        "p99_ms": 33.0,
        "slowest_ms": 44.0,
        "refused_p50_ms": 1.0,
        "errors": [],
        "by_second": {"onnx": {str(second): 100 for second in range(10)}, "original": {"4": 30}},
        "server": {"m_onnx": {"requests": 900, "rows_an_execution": 3.5, "queue_ms": 2.25, "compute_ms": 8.75}},
        "processors": 1.5,
        "memory_mb": 512.0,
        "memory": [[100.0, 400.0], [101.0, 512.0]],
        "fault": None,
    } | change


FOUND = {
    "model": "m",
    "seconds": 10.0,
    "stages": [stage("HybridGrpc", 1), stage("TwinGrpc", 1), stage("HybridGrpc", 500, answers_per_second=99.9)],
    "ratios": [
        {"users": 8, "to": "TwinGrpc", "answers_per_second": 0.95, "p99_ms": 1.1},
        {"users": 8, "to": "FastApiHttp", "answers_per_second": 1.875, "p99_ms": 0.625},
    ],
    "broken": ["HybridGrpc, 500 users: <p99> is late"],
    "verdict": "broken",
    "unfinished": None,
    "left_out": [],
    "command": ["python", "-m", "loadtests.load"],
    "machine": {"processor": "AMD EPYC", "cores": 64, "usable_cores": 2},
    "config": {"triton": "2.51.0"},
    "date": "2026-11-26T00:00:00+00:00",
}


def test_the_page_shows_what_was_measured_and_which_promise_is_broken():
    page = load_page(FOUND)
    for told in (
        "A promise is broken.",
        "&lt;p99&gt; is late",
        "99.9",
        "500 users, hybrid",
        "3.50",
        "8.75",
        "AMD EPYC, 64 cores, 2 of them usable",
    ):
        assert told in page
    assert len(re.findall("<svg", page)) == 6
    assert "Every promise is kept." in load_page(FOUND | {"broken": [], "verdict": "kept"})


def test_the_page_needs_nothing_from_anywhere():
    page = load_page(FOUND)
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)\s*=|url\(|@import", page)


def test_what_one_would_write_instead_stands_beside_the_hybrid():
    page = load_page(FOUND)
    assert "1.88 times" in page
    assert "0.62 times" in page
    assert page.count("FastAPI by hand") == 1
    assert "FastAPI serves it by hand" in page
    assert "in the process that asks" not in page, "it was not asked"
    assert "0.95 times" not in page
    assert "What one would write instead" not in load_page(FOUND | {"ratios": []})


def test_what_the_killed_twin_cost_stands_by_itself():
    fault = {"killed_at": 5.0, "back_after_s": 3.25}
    killed = stage("HybridGrpc", 500, fault=fault, failed=0, wrong=0)
    page = load_page(FOUND | {"stages": [*FOUND["stages"], killed]})
    assert "500 users while the ONNX twin is killed" in page
    original = killed | {"asked_first": "original"}
    assert "500 users while the original is killed" in load_page(FOUND | {"stages": [*FOUND["stages"], original]})
    assert "0 of 1,241 requests failed" in page
    assert "back 3.25 s after" in page
    assert len(re.findall("<svg", page)) == 7
    assert ">killed</text>" in page
    assert "9 s</text>" in load_page(
        FOUND | {"stages": [stage("HybridGrpc", 1, by_second={"onnx": {"0": 5, "10": 5}})]}
    )
    never = stage("HybridGrpc", 500, fault={"killed_at": 5.0, "back_after_s": None})
    assert "was not back when the stage ended" in load_page(FOUND | {"stages": [*FOUND["stages"], never]})


def test_where_nothing_was_answered_the_page_says_so():
    found = copy.deepcopy(FOUND)
    nothing = {"p50_ms": None, "p95_ms": None, "p99_ms": None, "slowest_ms": None, "memory_mb": None, "memory": []}
    found["stages"] = [stage("HybridHttp", 1, served_by={}, by_second={}, server={}, processors=None, **nothing)]
    page = load_page(json.loads(json.dumps(found)))
    assert "\N{EN DASH}" in page
    assert len(re.findall("<svg", page)) == 1


def test_a_stage_is_a_line_of_the_table():
    assert line_of(stage("HybridGrpc", 8)).split() == (
        ["8", "HybridGrpc", "123.4", "11", "22", "33", "7", "5", "3", "onnx", "1000", "original", "234", "1.50", "512"]
    )
    assert line_of(stage("TwinGrpc", 8, served_by={"": 5}, processors=None, memory_mb=None)).split()[-4:] == (
        ["itself", "5", "-", "-"]
    )


def test_help_tells_the_options_and_exit_codes(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for word in ("--users", "--kinds", "--slo", "HybridHttp", "exit codes"):
        assert word in printed


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--slo", "none.toml"], "none.toml cannot be read"),
        (["--repository", "not/there"], "not/there"),
        (["--url", "127.0.0.1:1"], "127.0.0.1:1|failed to connect|UNAVAILABLE"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_sentence(wrong, told, capsys):
    assert main(wrong) == 2
    printed = capsys.readouterr()
    assert re.search(told, printed.err)
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
