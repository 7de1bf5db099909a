"""How a twin is served is measured on a real Triton, and what measured best is what config.pbtxt says."""

import json
import os
import subprocess
import sys

import pytest

from conversion.arrangements.arrangement import in_words
from conversion.release.pbtxt import read_config
from python_backend.limits import available_cores

NET = """
import torch

def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2))
"""
SPEC = """
name = "arranged"
inputs = [{{ name = "x", dtype = "float32", shape = ["batch", 64] }}]
outputs = [{{ name = "y" }}]
[source]
factory = "net.py:build"
[serving]
max_batch_size = 4
threads = {cores}
hybrid_instances = 1
[search]
budget_s = 1
batch_sizes = [1]
"""

CORES = available_cores()


@pytest.fixture
def convert(tmp_path):
    """Convert the net in a process of its own; gives what it printed, the evidence and the configurations."""
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "net.py").write_text(NET)
    (folder / "model.toml").write_text(SPEC.format(cores=CORES))

    def run(**environment):
        command = [sys.executable, "-m", "conversion", "convert", str(folder), "--server", "none"]
        done = subprocess.run(
            [*command, "--repository", str(tmp_path / "repository"), "--build", str(tmp_path / "build")],
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
            env=os.environ | environment,
        )
        root = tmp_path / "repository"
        evidence = json.loads((root / "arranged" / "1" / "evidence.json").read_text())
        configs = {name: read_config(root / name / "config.pbtxt") for name in ("arranged", "arranged_onnx")}
        return done.stdout, evidence["serving"], configs

    yield run
    assert list((tmp_path / "build" / "work").iterdir()) == []


def test_what_measured_best_is_served_and_every_figure_is_kept(convert):
    out, serving, configs = convert()
    assert serving["how"] == "measured", serving["reason"]
    tried = serving["arrangements"]
    # The threads that the spec fixes leave room for one instance: not what is served where nothing is measured.
    assert [(one["instances"], one["threads"]) for one in tried] == [(1, CORES)] * 4
    assert [(one["dynamic_batching"], one["joined_rows"], one["split_rows"]) for one in tried] == [
        (True, 4, False),
        (False, 4, False),
        (False, 4, True),
        (False, 1, False),
    ]
    for one in tried:
        assert one["failure"] == ""
        assert one["rounds"] >= 3
        assert 0 < one["one"]["p50_ms"] <= one["one"]["p99_ms"]
        assert 0 < one["many"]["p50_ms"] <= one["many"]["p99_ms"]
        assert one["many"]["per_s"] > 0
        assert one["gain_quartiles"][0] <= one["gain"] <= one["gain_quartiles"][1]
    better = [one for one in tried if one["gain"] > 1 + serving["margin"] and one["gain_quartiles"][0] > 1]
    most = max((one["gain"] for one in better), default=0)
    chosen = next((one for one in better if one["gain"] * (1 + serving["margin"]) >= most), tried[0])
    keys = ("instances", "threads", "dynamic_batching", "joined_rows")
    assert [serving[key] for key in keys] == [chosen[key] for key in keys]
    twin, hybrid = configs["arranged_onnx"], configs["arranged"]
    assert twin.instance_group[0].count == chosen["instances"]
    assert twin.parameters["intra_op_thread_count"].string_value == str(CORES)
    assert twin.HasField("dynamic_batching") == chosen["dynamic_batching"]
    # Which of the two that differ in nothing else is decided by their medians.
    assert serving["split_rows"] in {one["split_rows"] for one in tried if all(one[key] == chosen[key] for key in keys)}
    assert (twin.parameters["split_rows"].string_value == "1") == serving["split_rows"]
    calls = 16 if chosen["dynamic_batching"] else chosen["instances"]
    assert hybrid.parameters["eager_calls"].string_value == str(calls)
    assert hybrid.parameters["max_joined_rows"].string_value == str(chosen["joined_rows"])
    assert f"  served with {in_words(serving)}: measured" in out


def test_where_no_triton_is_to_be_had_the_default_is_served_and_says_so(convert, tmp_path):
    out, serving, configs = convert(UNDERSTUDY_TRITON=str(tmp_path / "nowhere"))
    assert (serving["how"], serving["arrangements"]) == ("default", [])
    assert "nowhere" in serving["reason"]
    assert configs["arranged_onnx"].instance_group[0].count == 2
    assert configs["arranged_onnx"].HasField("dynamic_batching")
    assert f"  served with {in_words(serving)}: not measured, {serving['reason']}" in out
