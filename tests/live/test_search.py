"""The search on a real net: what is published, what is refused, and what the evidence says of every candidate."""

import json
import re

import pytest

from conversion.__main__ import main
from conversion.publishing.repository import Repository
from conversion.search.candidates import FATES

NET = """
import torch

def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 24, 3, padding=1), torch.nn.BatchNorm2d(24), torch.nn.ReLU(),
        torch.nn.Conv2d(24, 4, 5, padding=2), torch.nn.Tanh(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 5),
    )
"""
DATA = """
import numpy as np

def labelled():
    x = np.random.default_rng(5).standard_normal((40, 3, 16, 16)).astype(np.float32)
    return {"x": x, "labels": np.arange(40) % 5}

def only_the_original(outputs, labels):
    # The original comes first and is remembered; whatever is not the same to the last bit is wrong.
    first = only_the_original.__dict__.setdefault("first", {})
    key = tuple(labels) + (len(labels),)
    known = first.setdefault(key, outputs["y"].copy())
    return (outputs["y"] == known).all(axis=1).astype(float)
"""
SPEC = """
name = "searched"
inputs = [{ name = "x", dtype = "float32", shape = ["batch", 3, 16, 16] }]
outputs = [{ name = "y" }]
[source]
factory = "net.py:build"
[serving]
max_batch_size = 10
instances = 1
threads = 1
dynamic_batching = true
"""


@pytest.fixture
def convert(tmp_path, capsys):
    """Convert the net with more in its spec; gives the exit code, the error, and the evidence where there is some."""
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "net.py").write_text(NET)
    (folder / "data.py").write_text(DATA)
    repository = tmp_path / "repository"

    def run(more="", *arguments):
        (folder / "model.toml").write_text(SPEC + more)
        options = ["--repository", str(repository), "--build", str(tmp_path / "build"), "--server", "none", "--quiet"]
        code = main(["convert", str(folder), *options, *arguments])
        path = repository / "searched" / "1" / "evidence.json"
        evidence = json.loads(path.read_text()) if path.is_file() else None
        return code, capsys.readouterr(), evidence

    run.repository = repository
    return run


def test_the_evidence_tells_the_fate_of_every_candidate_and_the_fastest_is_published(convert):
    code, told, evidence = convert('[accuracy]\ngenerator = "data.py:labelled"\nmax_loss = 0.2\n')
    assert code == 0, told.err
    search = evidence["search"]
    names = [candidate["name"] for candidate in search["candidates"]]
    assert {name.split()[0].split("+")[0] for name in names} == {"dynamo", "torchscript"}
    assert any("+convolutions fp32" in name for name in names)
    assert any(" int8 (minmax)" in name for name in names)
    for candidate in search["candidates"]:
        assert candidate["fate"] in FATES
        assert candidate["reason"] or candidate["fate"] == "chosen"
    chosen = [candidate for candidate in search["candidates"] if candidate["fate"] == "chosen"]
    assert [candidate["name"] for candidate in chosen] == [search["chosen"]]
    timed = {c["name"]: c["timings"] for c in search["candidates"] if c["timings"]}
    assert set(timed[search["chosen"]]) == {"1", "10"} == set(evidence["speed"]["batches"])
    assert evidence["speed"]["batches"]["10"]["ratio"] == timed[search["chosen"]]["10"]["ratio"]
    assert evidence["accuracy"]["metric"] == "top1"
    assert evidence["accuracy"]["items"] == 40
    assert 0 < evidence["memory"]["twin_mb"] < evidence["memory"]["original_mb"]
    # Twins in 8 bits are not held to values beyond those that they were calibrated on.
    stressed = {"zeros", "tiny", "noise"} | ({"large"} if search["chosen"].split()[1] == "fp32" else set())
    assert {c["case"].split(":")[0] for c in evidence["parity"]["comparisons"]} >= stressed
    assert "times as fast" in told.out
    assert main(["verify", "--repository", str(convert.repository)]) == 0


def test_without_a_search_the_first_graph_that_holds_is_simplified_and_still_measured(convert):
    code, told, evidence = convert("", "--search", "off")
    assert code == 0, told.err
    fates = {candidate["name"]: candidate["fate"] for candidate in evidence["search"]["candidates"]}
    assert fates == {"dynamo fp32": "skipped", "dynamo+onnxslim fp32": "chosen"}
    assert "racing" not in told.err
    assert set(evidence["speed"]["batches"]) == {"1", "10"}
    assert evidence["memory"] == {"original_mb": None, "twin_mb": None}
    assert "memory" not in told.err


def test_the_impossible_publishes_nothing_and_names_what_came_nearest(convert):
    code, told, evidence = convert("[parity]\natol = 0.0\nrtol = 0.0\n")
    assert (code, evidence) == (7, None)
    assert told.err.startswith("error: no ONNX twin of searched matches the original, nothing was published; ")
    assert " fp32 came nearest: output 'y' at x[" in told.err
    assert told.err.count("\n") == 1
    assert Repository(convert.repository).names() == []


def test_candidates_that_lose_accuracy_are_refused_though_they_match(convert):
    code, told, evidence = convert('[accuracy]\ngenerator = "data.py:labelled"\nmetric = "data.py:only_the_original"\n')
    assert (code, evidence) == (7, None)
    assert told.err.startswith("error: no ONNX twin of searched is accurate enough, nothing was published; ")
    assert " fp32 came nearest: it loses " in told.err
    assert "95 % interval" in told.err
    assert Repository(convert.repository).names() == []


def test_a_model_of_ours_is_searched_for_as_make_convert_does(tmp_path, capsys):
    """sample_classifier, the smallest: every gate and every measurement that a user's `make convert` goes through."""
    repository = tmp_path / "repository"
    arguments = ["--repository", str(repository), "--build", str(tmp_path / "build"), "--server", "none"]
    assert main(["convert", "models/sample_classifier", *arguments]) == 0
    told = capsys.readouterr()
    assert re.search(r"^\[sample_classifier 0:\d\d\] loading the original$", told.err, re.MULTILINE)
    evidence = json.loads((repository / "sample_classifier" / "1" / "evidence.json").read_text())
    fates = [candidate["fate"] for candidate in evidence["search"]["candidates"]]
    assert fates.count("chosen") == 1
    assert any(" int8 (" in candidate["name"] for candidate in evidence["search"]["candidates"])
    assert set(evidence["speed"]["batches"]) == {"1", "10", "100"}
    assert evidence["accuracy"]["original"] >= 0.9
    assert evidence["accuracy"]["loss"] <= 0.001
    assert evidence["serving"]["how"] == "measured", evidence["serving"]["reason"]
    assert f"({evidence['search']['chosen']})" in told.out
