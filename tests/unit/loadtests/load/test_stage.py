"""When the twin is killed in a stage, and what is made of it; no server, no Locust."""

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import loadtests.load.stage as stage_module
from loadtests.load.counters import _COUNTED
from loadtests.load.stage import Asked, Load, StageFailed, Where, _fault, _locust, _told, run_stage
from loadtests.load.watching import Watching
from python_backend.hybrid.preference import TWINS

WHERE = Where("h:1", "h:2", "h:3", 1)
STARTS_S = 2.0
FIGURES = {"answers": 1, "counted_from": 100.0, "counted_until": 110.0}


@pytest.mark.parametrize("users", [1, 8])
@pytest.mark.parametrize("seconds", [1, 2, 4, 15])
def test_the_kill_lies_in_the_middle_of_the_stage(monkeypatch, users, seconds):
    monkeypatch.setattr(stage_module, "TwinKilled", lambda url, pid, model, after_s: after_s)
    monkeypatch.setattr(stage_module, "_processes", lambda users: 1)
    load = Load("HybridGrpc", users, seconds, kill_twin=True)
    command = _locust(load, WHERE, Asked("m", None, 20), Path("summary.json"))
    ends = STARTS_S + float(command[command.index("--run-time") + 1].removesuffix("s"))
    assert _fault(load, WHERE, "m") == pytest.approx(ends - seconds / 2)


def test_what_became_of_a_twin_that_was_killed_is_told():
    fault = SimpleNamespace(killed_at=105.0, back_after_s=None, said=[(1.0, "m_onnx is dead")])
    figures = {"counted_from": 100.0, "counted_until": 110.0}
    assert _told(fault, figures) == {"killed_at": 105.0, "back_after_s": None, "said": ["m_onnx is dead"]}


@pytest.mark.parametrize(
    ("killed_at", "until", "told"),
    [
        (None, 110.0, "nothing was killed"),
        (99.0, 110.0, "not killed while the figures counted"),
        (111.0, 110.0, "not killed while the figures counted"),
        (105.0, None, "not killed while the figures counted"),
    ],
)
def test_a_stage_in_which_nothing_was_killed_tells_nothing_of_that(killed_at, until, told):
    fault = SimpleNamespace(killed_at=killed_at, back_after_s=None, said=[])
    with pytest.raises(StageFailed, match=told):
        _told(fault, {"counted_from": 100.0, "counted_until": until})


@pytest.fixture
def summary(monkeypatch):
    """Lets `run_stage` find such figures instead of running anything."""

    def write(**figures):
        def run(command, limit_s):
            Path(command[command.index("--summary") + 1]).write_text(json.dumps(FIGURES | figures))

        monkeypatch.setattr(stage_module, "_run", run)
        monkeypatch.setattr(stage_module, "read_counters", lambda url: {})
        monkeypatch.setattr(stage_module, "_processes", lambda users: 1)

    return write


def test_a_stage_whose_figures_miss_requests_tells_nothing(summary):
    elsewhere, asked = Where("h:1", "h:2", "h:3", None), Asked("m", None, 20)
    summary(uncounted=[{"said": "Incomplete response.", "times": 3}, {"said": "odd", "times": 1}])
    with pytest.raises(StageFailed, match=r"ended 4 requests, which no figure counts: Incomplete response\."):
        run_stage(Load("HybridGrpc", 1, 1), elsewhere, asked)
    summary(uncounted=[])
    assert "uncounted" not in run_stage(Load("HybridGrpc", 1, 1), elsewhere, asked)


def counted(amount):
    return {f"m_{twin}": dict.fromkeys(_COUNTED, amount) for twin in TWINS}


@pytest.mark.parametrize("first", TWINS)
def test_the_twin_that_is_asked_first_is_killed(monkeypatch, summary, first):
    """The other one is asked by nobody: its death would prove nothing."""
    killed = []

    def kill(url, pid, model, after_s):
        killed.append(model)
        return contextlib.nullcontext(SimpleNamespace(killed_at=105.0, back_after_s=None, said=[]))

    monkeypatch.setattr(stage_module, "TwinKilled", kill)
    monkeypatch.setattr(stage_module, "Watching", lambda pid: Watching(None))
    summary()
    readings = iter([0.0, 9.0])
    monkeypatch.setattr(stage_module, "read_counters", lambda url: counted(next(readings)))
    stage = run_stage(Load("HybridGrpc", 1, 1, kill_twin=True), WHERE, Asked("m", None, 20, first=first))
    assert (killed, stage["asked_first"]) == ([f"m_{first}"], first)
    assert list(stage["server"]) == [f"m_{twin}" for twin in TWINS if twin != first], "it counts anew"
