"""Locust's users against a real Triton, by the command that `make load` runs."""

import json
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from loadtests.load.__main__ import main
from loadtests.load.slo import Slo, broken_promises
from loadtests.load.stage import Asked, Load, StageFailed, Where, run_stage

from .hybrid_net import ROOT, Net, Shape

MODEL = "loaded"


@pytest.fixture(scope="module")
def net(triton):
    made = Net(triton, MODEL, Shape())
    yield made.load()
    made.close()


@pytest.fixture
def where(triton):
    return Where(triton.server.grpc_url, triton.server.http_url, triton.server.metrics_url, triton.server.pid)


@pytest.fixture
def load(where, tmp_path, capsys):
    """Runs the command; gives its exit code, what it wrote, and what it printed to standard output and error."""

    def run(*arguments, promises="[any]\nfailed_rate = 0.0\nwrong_rate = 0.0\nfallback_rate = 0.0\n"):
        slo, output = tmp_path / "slo.toml", tmp_path / "out" / "load.json"
        slo.write_text(promises)
        server = ["--url", where.grpc, "--http-url", where.http, "--metrics-url", where.metrics]
        code = main([*server, "--model", MODEL, "--slo", str(slo), "--output", str(output), *arguments])
        printed = capsys.readouterr()
        return code, json.loads(output.read_text()) if output.is_file() else None, printed.out, printed.err

    return run


def test_all_kinds_are_answered_checked_and_told_past_a_proxy_of_the_environment(net, load, tmp_path, monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    net.settle()
    kinds = ["HybridGrpc", "TwinGrpc", "OriginalGrpc", "HybridHttp", "TwinHttp", "OriginalHttp"]
    code, found, out, err = load("--users", "4", "--seconds", "2", "--check-every", "1", "--kinds", *kinds)
    assert (code, err) == (0, "")
    stages = {stage["kind"]: stage for stage in found["stages"]}
    assert list(stages) == kinds
    for kind, stage in stages.items():
        assert stage["answers"] > 20, kind
        assert (stage["failed"], stage["wrong"], stage["refused"], stage["errors"]) == (0, 0, 0, [])
        assert 0 <= stage["p50_ms"] <= stage["p99_ms"] <= stage["slowest_ms"]
        assert list(stage["served_by"]) == ["onnx" if kind.startswith("Hybrid") else ""]
        assert sum(sum(seconds.values()) for seconds in stage["by_second"].values()) == stage["answers"]
    counted = stages["HybridGrpc"]["server"]
    assert counted[MODEL]["requests"] >= stages["HybridGrpc"]["answers"]
    assert counted[f"{MODEL}_onnx"]["rows_an_execution"] >= 1
    assert out.count("\n") == 1 + len(kinds) + 3
    assert "kept: the promises of" in out
    assert "loaded" in (tmp_path / "out" / "load.html").read_text()


def test_a_twin_that_fails_under_load_breaks_the_promise_and_no_request(net, load):
    net.settle()
    net.behave("onnx", error={"all": "no"})
    code, found, out, err = load("--users", "4", "--seconds", "2", "--kinds", "HybridGrpc")
    (stage,) = found["stages"]
    assert code == 1
    assert (stage["failed"], stage["wrong"]) == (0, 0)
    assert stage["served_by"]["original"] == stage["answers"] > 20
    assert found["broken"] == ["HybridGrpc, 4 users: fallback_rate is 100.00%, the limit is 0.00%"]
    assert "promise broken: HybridGrpc, 4 users: fallback_rate" in err
    assert "BROKEN" in out
    net.settle()


def test_wrong_answers_and_failures_are_told_from_answers(net, where):
    net.settle()
    net.behave("onnx", offset=1.0)
    stage = run_stage(Load("TwinGrpc", 2, 3), where, Asked(MODEL, None, 1))
    assert stage["wrong"] == stage["answers"] > 10
    assert "differs from the golden answer" in stage["errors"][0]["said"]
    assert stage["memory_mb"] > 100
    assert stage["processors"] > 0
    net.behave("onnx", error={"all": "no"})
    for kind in ("TwinGrpc", "TwinHttp"):
        stage = run_stage(Load(kind, 2, 2), where, Asked(MODEL, None, 1))
        assert (stage["answers"], stage["wrong"], stage["p99_ms"]) == (0, 0, None)
        assert stage["failed"] > 10, stage
        assert "no" in stage["errors"][0]["said"]
    net.settle()


def test_the_twin_is_killed_under_load_and_repaired_and_no_request_fails(net, where):
    net.settle()
    stage = run_stage(Load("HybridGrpc", 8, 12, kill_twin=True), where, Asked(MODEL, None, 1))
    assert (stage["failed"], stage["wrong"], stage["refused"]) == (0, 0, 0)
    assert stage["served_by"]["original"] > 10
    assert 0 < stage["fault"]["back_after_s"] < 10
    assert stage["processors"] > 0, "what the dead twin took still counts"
    assert any("its stub process has died" in line for line in stage["fault"]["said"])
    elsewhere = replace(where, pid=None)
    with pytest.raises(StageFailed, match="leave --url out"):
        run_stage(Load("HybridGrpc", 1, 1, kill_twin=True), elsewhere, Asked(MODEL, None, 1))


def test_where_the_original_is_asked_first_its_answers_are_no_fallback_and_it_is_what_is_killed(triton, where):
    net = Net(triton, "turned", Shape(parameters={"prefer": "1:original,9:onnx"})).load()
    try:
        asked = Asked("turned", None, 1, first="original")
        quiet = run_stage(Load("HybridGrpc", 4, 1), where, asked)
        assert list(quiet["served_by"]) == ["original"]
        assert broken_promises(Slo({"fallback_rate": 0.0}, {}), [quiet]) == []
        stage = run_stage(Load("HybridGrpc", 8, 8, kill_twin=True), where, asked)
        assert (stage["failed"], stage["wrong"], stage["refused"]) == (0, 0, 0)
        assert min(stage["served_by"][twin] for twin in ("onnx", "original")) > 10
        assert any("turned_original" in line for line in stage["fault"]["said"])
    finally:
        net.close()


def test_what_the_full_hybrid_turns_away_is_no_failure(triton, where):
    net = Net(triton, "small", Shape(parameters={"max_pending": "2"})).load()
    try:
        net.behave("onnx", sleep_s={"all": 0.05})
        for kind in ("HybridGrpc", "HybridHttp"):
            stage = run_stage(Load(kind, 12, 2), where, Asked("small", None, 1))
            assert stage["refused"] > 10, stage["errors"]
            assert (stage["failed"], stage["wrong"]) == (0, 0)
            assert stage["answers"] > 10
    finally:
        net.close()


def test_golden_samples_of_the_release_are_asked(net, where, tmp_path):
    net.settle()
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.savez(tmp_path / "golden.npz", **{"input/x": x, "output/y": x * 2 + 1})
    (tmp_path / "evidence.json").write_text(json.dumps({"parity": {"atol": 0.0, "rtol": 1e-6}}))
    stage = run_stage(Load("HybridGrpc", 2, 1), where, Asked(MODEL, tmp_path, 1))
    assert (stage["wrong"], stage["failed"]) == (0, 0)
    np.savez(tmp_path / "golden.npz", **{"input/x": x, "output/y": x})
    stage = run_stage(Load("HybridGrpc", 2, 1), where, Asked(MODEL, tmp_path, 1))
    assert stage["wrong"] == stage["answers"] > 0


def test_what_cannot_be_asked_is_told_in_one_sentence(net, where, tmp_path):
    with pytest.raises(StageFailed, match="unknown model"):
        run_stage(Load("HybridGrpc", 1, 1), where, Asked("nobody", None, 1))
    with pytest.raises(StageFailed, match="holds no golden samples"):
        run_stage(Load("HybridGrpc", 1, 1), where, Asked(MODEL, tmp_path, 1))


def test_a_master_and_its_worker_share_a_load(net, where, tmp_path):
    net.settle()
    common = [sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", "--host", where.grpc, "--model", MODEL]
    port = str(free_port())
    rest = ["--headless", "--users", "6", "--spawn-rate", "6", "--run-time", "3s", "--expect-workers", "1"]
    master = [*common, *rest, "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port]
    worker = subprocess.Popen([*common, "--worker", "--master-port", port, "HybridGrpc"], cwd=ROOT)
    try:
        summary = ["--summary", str(tmp_path / "summary.json"), "HybridGrpc"]
        done = subprocess.run([*master, *summary], check=False, capture_output=True, text=True, timeout=120, cwd=ROOT)
        worker.wait(30)
    finally:
        worker.kill()
        worker.wait()
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "summary.json").read_text())
    assert found["answers"] > 50
    assert found["served_by"] == {"onnx": found["answers"]}


def test_on_a_machine_with_cores_for_it_several_processes_share_a_load(net, where, tmp_path, monkeypatch):
    net.settle()
    monkeypatch.setattr("loadtests.load.stage._CORES_FOR_A_PROCESS", 1)
    found = run_stage(Load("HybridGrpc", 8, 2), where, Asked(MODEL, None, 1))
    assert found["answers"] > 50
    assert found["served_by"] == {"onnx": found["answers"]}
    assert (found["wrong"], found["failed"]) == (0, 0)
    with pytest.raises(StageFailed, match="holds no golden samples"):
        run_stage(Load("HybridGrpc", 2, 1), where, Asked(MODEL, tmp_path, 1))


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.parametrize("shape", ["step", "spike", "ramp"])
def test_locust_takes_a_shape_beside_the_users(net, where, shape, tmp_path):
    net.settle()
    files = f"loadtests/locustfile.py,loadtests/shapes/{shape}.py"
    command = [sys.executable, "-m", "locust", "-f", files, "--headless", "--only-summary", "--host", where.grpc]
    options = ["--model", MODEL, "--peak", "6", "--length", "6", "--summary", str(tmp_path / "summary.json")]
    done = subprocess.run(
        [*command, *options, "HybridGrpc"], check=False, capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "summary.json").read_text())["answers"] > 50
