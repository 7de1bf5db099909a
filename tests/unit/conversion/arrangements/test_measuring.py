"""What is laid out to be measured, and how the arrangements take turns."""

import os
from dataclasses import replace

import pytest

from conversion.arrangements.arrangement import Arrangement
from conversion.arrangements.callers import Window
from conversion.arrangements.measuring import Effort, lay_out, measure
from conversion.errors import ReleaseRefused
from conversion.interface import Facts
from conversion.release.gpu_config import Traits
from conversion.release.pbtxt import read_config

X, Y = (Facts(name, "float32", ("batch", 4)) for name in ("x", "y"))
SAFE = Arrangement(2, 1, dynamic_batching=True, joined_rows=32)
DEEP = Arrangement(1, 2, dynamic_batching=False, joined_rows=1)
EFFORT = Effort(clients=3, window_s=0.02, warm_up_s=0.01, requests=2, least=2, most=4, seconds=0.0)


class Asked:
    """Callers whose every answer takes a millisecond; what `fails` names in its so-manieth window does not answer."""

    def __init__(self, fails=()):
        self.windows, self.fails = [], dict(fails)

    def ask(self, model, count, *, seconds, least):
        self.windows.append((model, count, seconds, least))
        if sum(name == model for name, *_ in self.windows) == self.fails.get(model):
            raise ReleaseRefused(f"{model} fell over")
        return Window(tuple(float(n) for n in range(1, 101)), 0.5)


@pytest.fixture
def twin(tmp_path):
    made = tmp_path / "onnx"
    made.mkdir()
    (made / "model.onnx").write_bytes(b"graph")
    (made / "model.onnx.data").write_bytes(b"weights")
    return made


def test_the_twin_is_served_once_for_each_arrangement_behind_a_hybrid_that_asks_nobody_else(spec, twin, tmp_path):
    scratch = tmp_path / "scratch"
    traits = Traits("fp16", ("Conv",))
    names = lay_out(spec, twin, [X], [Y], wanted=[SAFE, DEEP], scratch=scratch, traits=traits)
    assert names == {SAFE: "net_2x1_batching", DEEP: "net_1x2"}
    assert sorted(p.name for p in scratch.iterdir()) == [
        *("net_1x2", "net_1x2_onnx", "net_2x1_batching", "net_2x1_batching_onnx")
    ]
    for arrangement, name in names.items():
        onnx, hybrid = (read_config(scratch / model / "config.pbtxt") for model in (f"{name}_onnx", name))
        assert onnx.name == f"{name}_onnx"
        assert onnx.parameters["use_tf32"].string_value == "1", "measured as it would be published"
        assert onnx.instance_group[0].count == arrangement.instances
        assert onnx.parameters["intra_op_thread_count"].string_value == str(arrangement.threads)
        assert onnx.HasField("dynamic_batching") == arrangement.dynamic_batching
        assert hybrid.parameters["primary_model"].string_value == f"{name}_onnx"
        assert hybrid.parameters["eager_calls"].string_value == ("16" if arrangement.dynamic_batching else "1")
        assert hybrid.parameters["max_joined_rows"].string_value == ("32" if arrangement.dynamic_batching else "1")
        assert hybrid.parameters["prefer"].string_value == "onnx"
        assert hybrid.parameters["fallback_enabled"].string_value == "false"
        assert (scratch / name / "1" / "model.py").is_file()


def test_hybrids_whose_twins_are_served_alike_ask_the_same_one(spec, twin, tmp_path):
    more = replace(SAFE, hybrid_instances=4)
    scratch = tmp_path / "scratch"
    names = lay_out(spec, twin, [X], [Y], wanted=[SAFE, more], scratch=scratch, traits=Traits())
    assert sorted(p.name for p in scratch.iterdir()) == [
        *("net_2x1_batching", "net_2x1_batching_by4", "net_2x1_batching_onnx")
    ]
    for arrangement, name in names.items():
        hybrid = read_config(scratch / name / "config.pbtxt")
        assert hybrid.parameters["primary_model"].string_value == "net_2x1_batching_onnx"
        assert hybrid.instance_group[0].count == arrangement.hybrid_instances


def test_two_that_only_join_differently_are_two_hybrids(spec, twin, tmp_path):
    fewer = replace(SAFE, joined_rows=8)
    scratch = tmp_path / "scratch"
    names = lay_out(spec, twin, [X], [Y], wanted=[SAFE, fewer], scratch=scratch, traits=Traits())
    joined = {one: read_config(scratch / name / "config.pbtxt").parameters for one, name in names.items()}
    assert [joined[one]["max_joined_rows"].string_value for one in (SAFE, fewer)] == ["32", "8"]


def test_a_limit_of_the_spec_does_not_end_a_measurement(spec, twin, tmp_path):
    strict = replace(spec, serving=replace(spec.serving, deadline_ms=500, primary_budget_ms=100, max_pending=2))
    lay_out(strict, twin, [X], [Y], wanted=[SAFE], scratch=tmp_path / "scratch", traits=Traits())
    made = read_config(tmp_path / "scratch" / "net_2x1_batching" / "config.pbtxt").parameters
    assert int(made["max_pending"].string_value) >= 32
    assert int(made["deadline_ms"].string_value) >= 60_000


def test_no_weight_is_copied(spec, twin, tmp_path):
    lay_out(spec, twin, [X], [Y], wanted=[SAFE, DEEP], scratch=tmp_path / "scratch", traits=Traits())
    for file in ("model.onnx", "model.onnx.data"):
        for model in ("net_2x1_batching_onnx", "net_1x2_onnx"):
            assert os.path.samefile(twin / file, tmp_path / "scratch" / model / "1" / file)


def test_arrangements_take_turns_each_round_starts_with_another_and_the_warm_up_is_not_counted():
    asked = Asked()
    rounds, failures = measure(asked, {SAFE: "safe", DEEP: "deep"}, EFFORT)
    both = [("safe", 1), ("safe", 3), ("deep", 1), ("deep", 3)]
    assert [window[:2] for window in asked.windows] == [*both, *both, *both[2:], *both[:2]]
    assert [window[2] for window in asked.windows] == [0.01] * 4 + [0.02] * 8
    assert {(count, least) for _, count, _, least in asked.windows} == {(1, 2), (3, 1)}
    assert {arrangement: len(found) for arrangement, found in rounds.items()} == {SAFE: 2, DEEP: 2}
    assert failures == {}


def test_a_round_tells_percentiles_and_requests_a_second():
    rounds, _ = measure(Asked(), {SAFE: "safe"}, EFFORT)
    met = rounds[SAFE][0]
    assert (met.one_p50_ms, met.one_p99_ms, met.p50_ms, met.p99_ms) == (50, 99, 50, 99)
    assert met.per_s == 200


@pytest.mark.parametrize(("window", "rounds_before"), [(1, 0), (3, 0), (6, 1)])
def test_what_fails_is_asked_no_more_and_the_others_go_on(window, rounds_before):
    asked = Asked({"deep": window})
    rounds, failures = measure(asked, {SAFE: "safe", DEEP: "deep"}, EFFORT)
    assert failures == {DEEP: "deep fell over"}
    assert (len(rounds[SAFE]), len(rounds[DEEP])) == (2, rounds_before)
    assert sum(name == "deep" for name, *_ in asked.windows) == window


def test_rounds_go_on_while_there_is_time_but_never_beyond_the_most():
    rounds, _ = measure(Asked(), {SAFE: "safe"}, Effort(least=1, most=5, seconds=60.0))
    assert len(rounds[SAFE]) == 5


@pytest.mark.parametrize(("cores", "clients"), [(1, 8), (4, 8), (8, 16), (64, 32)])
def test_more_cores_are_asked_by_more_clients(cores, clients):
    assert Effort().on(cores).clients == clients
