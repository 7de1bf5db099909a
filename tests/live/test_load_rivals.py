"""What one would write instead of a hybrid, run for real on a graph and its golden samples."""

import json
import urllib.request
from dataclasses import replace

import numpy as np
import onnx.parser
import pytest

from loadtests.load.stage import Asked, Load, StageFailed, Where, run_stage
from loadtests.rivals import FASTAPI, IN_PROCESS
from loadtests.rivals.running import fastapi_server

GRAPH = """<ir_version: 9, opset_import: ["" : 18]>
two (float[batch, {size}] x, int64[batch, 2] n) => (float[batch, {size}] y, int64[batch, 2] m) {{
    y = Add(x, x)
    m = Add(n, n)
}}"""


def write_graph(folder, size="3"):
    path = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(GRAPH.format(size=size)), path)
    return path


@pytest.fixture
def asked(tmp_path):
    """A release's golden samples beside its graph, every answer of which is looked at."""
    x, n = np.arange(12, dtype=np.float32).reshape(4, 3), np.arange(8).reshape(4, 2)
    np.savez(tmp_path / "golden.npz", **{"input/x": x, "input/n": n, "output/y": 2 * x, "output/m": 2 * n})
    (tmp_path / "evidence.json").write_text(json.dumps({"parity": {"atol": 0.0, "rtol": 1e-6}}))
    return Asked("two", tmp_path, 1, write_graph(tmp_path))


@pytest.fixture
def where(triton):
    return Where(triton.server.grpc_url, triton.server.http_url, triton.server.metrics_url, triton.server.pid)


@pytest.mark.parametrize("users", [1, 16])
def test_onnx_runtime_alone_answers_all_its_users(where, asked, users):
    stage = run_stage(Load(IN_PROCESS, users, 1.5), where, asked)
    assert stage["answers"] > 100
    assert (stage["failed"], stage["wrong"], stage["errors"]) == (0, 0, [])
    assert 0 < stage["p50_ms"] <= stage["p95_ms"] <= stage["p99_ms"] <= stage["slowest_ms"]
    assert sum(stage["by_second"][""].values()) == stage["answers"] == stage["served_by"][""]
    assert stage["processors"] is None, "the server has no part in it"


def test_the_hand_written_server_answers_rightly_and_its_own_memory_is_told(triton, where, asked):
    """Locust asks a model on Triton for its configuration first; the questions are those of the release."""
    config = 'backend: "python" max_batch_size: 8 input { name: "x" data_type: TYPE_FP32 dims: 3 }'
    folder = triton.repository / "two"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(f'{config} output {{ name: "y" data_type: TYPE_FP32 dims: 3 }}')
    (folder / "1" / "model.py").write_text("class TritonPythonModel:\n    pass\n")
    triton.control.load("two")
    try:
        stage = run_stage(Load(FASTAPI, 8, 3.0), where, asked)
    finally:
        triton.drop("two")
    assert stage["answers"] > 20
    assert (stage["failed"], stage["wrong"], stage["errors"]) == (0, 0, [])
    assert stage["served_by"] == {"": stage["answers"]}
    assert 20 < stage["memory_mb"] < 400
    assert stage["processors"] > 0


def test_wrong_answers_of_a_rival_are_seen(where, asked):
    golden = dict(np.load(asked.release / "golden.npz"))
    np.savez(asked.release / "golden.npz", **(golden | {"output/y": golden["output/y"] + 1}))
    stage = run_stage(Load(IN_PROCESS, 2, 1.0), where, asked)
    assert stage["wrong"] == stage["answers"]
    assert "differs from the golden answer" in stage["errors"][0]["said"]


def test_the_server_is_there_while_it_is_measured_and_no_longer(asked):
    with fastapi_server(asked.graph, 8) as rival:
        body = np.arange(2).tobytes() + np.ones(3, np.float32).tobytes()
        with urllib.request.urlopen(f"http://{rival.address}/infer", body, timeout=10) as response:
            content = response.read()
    assert np.frombuffer(content, np.int64, 2).tolist() == [0, 2]
    assert np.frombuffer(content, np.float32, 3, 16).tolist() == [2, 2, 2]
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://{rival.address}/healthz", timeout=10)


def test_what_a_rival_cannot_run_is_told_in_one_sentence(where, asked, tmp_path):
    wild = replace(asked, graph=write_graph(tmp_path, size="any"))
    with pytest.raises(StageFailed, match=r"did not start: error: input 'x' .* its bytes do not tell its shape"):
        run_stage(Load(FASTAPI, 1, 1.0), where, wild)
    with pytest.raises(StageFailed, match="a rival needs the release's files"):
        run_stage(Load(IN_PROCESS, 1, 1.0), where, replace(asked, graph=None))
    with pytest.raises(StageFailed, match=r"nowhere\.onnx"):
        run_stage(Load(IN_PROCESS, 1, 1.0), where, replace(asked, graph=tmp_path / "nowhere.onnx"))
