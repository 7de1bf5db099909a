"""What `make load` asks, and what it makes of stages: these are written by hand, and no server is there."""

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig

import loadtests.load.__main__ as command
from loadtests.load.stage import Asked, StageFailed, Where
from loadtests.rivals import FASTAPI

WHERE = Where("h:1", "h:2", "h:3", 1)
UNTOLD = "input 'x' is tensor(float)['N', 'time']: its bytes do not tell its shape"


def stage(load, **change):
    fault = {"killed_at": 5.0, "back_after_s": None, "said": []} if load.kill_twin else None
    return {
        "kind": load.kind,
        "users": load.users,
        "asked_first": "onnx",
        "answers": 100,
        "answers_per_second": 100.0,
        "refused": 0,
        "failed": 0,
        "wrong": 0,
        "served_by": {"onnx": 100},
        "seconds": 1.0,
        "p50_ms": 5.0,
        "p95_ms": 6.0,
        "p99_ms": 7.0,
        "slowest_ms": 8.0,
        "errors": [],
        "by_second": {},
        "server": {},
        "processors": None,
        "memory_mb": None,
        "memory": [],
        "fault": fault,
    } | change


@pytest.fixture
def load(monkeypatch, tmp_path, capsys):
    """Runs the command with `run` in the place of a stage; gives its exit code, JSON, page and printed text."""

    @contextlib.contextmanager
    def server(arguments):
        yield WHERE

    def go(*arguments, run=stage, untold=None, release=Path("release")):
        asked = []

        def stage_of(load, where, of):
            asked.append(load)
            return run(load)

        monkeypatch.setattr(command, "_server", server)
        monkeypatch.setattr(command, "_asked", lambda where, given: Asked("m", release, 20, Path("model.onnx")))
        circumstances = {
            "model": "m",
            "seconds": 1.0,
            "config": {"triton": "2"},
            "machine": {"processor": "p", "cores": 2},
            "date": "d",
        }
        monkeypatch.setattr(command, "_circumstances", lambda where, given: circumstances)
        monkeypatch.setattr(command, "why_not", lambda path: untold)
        monkeypatch.setattr(command, "run_stage", stage_of)
        output = tmp_path / "load.json"
        go.asked = asked
        code = command.main([*arguments, "--output", str(output)])
        printed = capsys.readouterr()
        found = json.loads(output.read_text()) if output.is_file() else None
        page = output.with_suffix(".html").read_text() if found else None
        return code, found, page, printed

    return go


def test_a_rival_that_the_graph_is_not_for_is_left_out_and_told_of(load):
    code, found, page, printed = load("--users", "1", "2", untold=UNTOLD)
    assert code == 0
    kinds = ["HybridGrpc", "TwinGrpc", "OriginalGrpc", "InProcess"]
    assert [one.kind for one in load.asked] == kinds * 2
    assert printed.err == f"FastAPI by hand is not asked: {UNTOLD}\n"
    assert found["left_out"] == [printed.err.strip()]
    assert "FastAPI by hand is not asked" in page


def test_both_rivals_are_asked_where_they_can_be(load):
    _, found, page, _ = load("--users", "1")
    assert [one.kind for one in load.asked][3:] == [FASTAPI, "InProcess"]
    assert found["left_out"] == []
    assert "is not asked" not in page
    load("--users", "1", release=None)
    assert len(load.asked) == 3, "rivals need golden samples"


def test_who_is_named_is_asked_whatever_its_graph(load):
    load("--users", "1", "--kinds", FASTAPI, untold=UNTOLD)
    assert [one.kind for one in load.asked] == [FASTAPI]


def test_a_hybrid_that_turned_callers_away_is_set_beside_nobody_and_that_is_told(load):
    _, found, page, printed = load(
        "--users", "8", run=lambda load: stage(load, refused=900 if load.kind == "HybridGrpc" else 0)
    )
    assert found["ratios"] == []
    assert found["left_out"] == ["8 users: hybrid is left out of the comparison: of 1000 requests, 900 refused"]
    assert found["left_out"][0] in page
    assert found["left_out"][0] in printed.err.splitlines()


def fails_at(number, error):
    left = iter([None] * (number - 1))

    def run(load):
        try:
            next(left)
        except StopIteration:
            raise error from None
        return stage(load)

    return run


@pytest.mark.parametrize(
    ("error", "code", "why"),
    [
        (StageFailed("the rival is gone"), 2, "the rival is gone"),
        (OSError("the metrics are gone"), 2, "the metrics are gone"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_was_measured_before_it_ended_is_written_as_unfinished(load, error, code, why):
    ended, found, page, printed = load(run=fails_at(3, error))
    assert ended == code
    assert [one["kind"] for one in found["stages"]] == ["HybridGrpc", "TwinGrpc"]
    assert found["unfinished"] == f"after 2 of 20 stages: {why}"
    assert f"ended {found['unfinished']}; so far kept" in printed.out
    assert f"Unfinished: it ended {found['unfinished']}" in page
    assert "Every promise is kept" not in page
    assert 'class="verdict wins"' not in page


def test_where_nothing_was_measured_nothing_is_written(load):
    code, found, _, printed = load(run=fails_at(1, StageFailed("no server")))
    assert (code, found, printed.err) == (2, None, "error: no server\n")


def test_a_whole_run_that_keeps_its_promises_says_so(load):
    code, found, page, printed = load("--users", "8")
    assert (code, found["unfinished"], found["verdict"]) == (0, None, "kept")
    assert "\nkept: the promises of" in printed.out
    assert "Every promise is kept." in page


def test_nothing_is_said_to_be_kept_where_the_hybrid_was_not_asked(load):
    arguments = ("--kinds", "TwinGrpc", "OriginalGrpc", "--users", "1")
    code, found, page, printed = load(*arguments, run=lambda load: stage(load, answers=10, failed=900))
    assert (code, found["verdict"], found["broken"]) == (0, "unknown", [])
    assert "unknown: the promises of" in printed.out
    assert "kept:" not in printed.out
    assert "Every promise" not in page
    assert 'class="verdict wins"' not in page
    assert "the hybrid was not asked" in page


def test_a_twin_that_was_not_back_in_time_is_told_so(load):
    _, found, page, printed = load("--users", "2", "8", "--kinds", "TwinGrpc", "--kill-twin")
    assert load.asked[-1].kill_twin
    assert (load.asked[-1].kind, load.asked[-1].users, found["verdict"]) == ("HybridGrpc", 8, "kept")
    assert "the twin was killed meanwhile, and was not back when the stage ended" in printed.out
    assert "The twin was not back when the stage ended." in page


def test_the_twin_of_a_server_somewhere_else_is_refused_before_anything_is_measured(load, capsys):
    with pytest.raises(SystemExit) as ended:
        load("--url", "h:1", "--kill-twin")
    assert ended.value.code == 2
    assert load.asked == []
    assert "leave --url or --kill-twin out" in capsys.readouterr().err


def test_the_hybrid_is_asked_for_the_twin_that_it_asks_first(monkeypatch, tmp_path):
    config = ModelConfig(max_batch_size=8)
    config.parameters["prefer"].string_value = "1:original,9:onnx"
    client = SimpleNamespace(
        get_model_metadata=lambda name: SimpleNamespace(versions=["2", "10"]),
        get_model_config=lambda name: SimpleNamespace(config=config),
    )
    monkeypatch.setattr(command.direct, "client", lambda url: contextlib.nullcontext(client))
    asked = command._asked(WHERE, command._arguments(["--model", "m", "--repository", str(tmp_path)]))
    assert asked.twin == "m_original"
