"""A release against a target, whose ONNX Runtime is played by that of the tests, in a process of its own."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from conversion.__main__ import main
from conversion.interface import Facts
from conversion.preflight.environments import Environments
from conversion.preflight.examine import Candidate, examine, published
from conversion.proof.parity import Twin
from conversion.publishing.repository import Repository
from conversion.release.evidence import EVIDENCE
from conversion.release.pbtxt import model_configs
from conversion.spec import ToleranceSpec
from conversion.targets import TARGETS

X, Y = Facts("x", "float32", ("batch", 4)), Facts("y", "float32", ("batch", 4))
TARGET = TARGETS["24.10"]
BATCH = np.array([[1, -1, 2, 0], [3, 3, 3, 3]], np.float32)


@pytest.fixture
def environments(tmp_path):
    """An environment for the default target that is there already: nothing is installed."""
    play(tmp_path / "build" / "preflight", "1.19.2")
    return Environments(tmp_path / "build" / "preflight")


def play(folder: Path, version: str) -> None:
    python = folder / f"onnxruntime-{version}" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)


@pytest.fixture
def candidate(affine, spec, tmp_path):
    onnx.save(affine, str(tmp_path / "model.onnx"))
    return Candidate(
        name="net",
        graph=tmp_path / "model.onnx",
        configs=model_configs(spec, [X], [Y]),
        inputs=(X,),
        tolerance=ToleranceSpec(),
        golden=tmp_path / "golden.npz",
    )


def golden(candidate, model, **changed):
    outputs = Twin(model, 1).run({"x": BATCH})
    arrays = {"input/x": BATCH, **{f"output/{name}": array for name, array in {**outputs, **changed}.items()}}
    np.savez(candidate.golden, **arrays)


def test_a_good_release_is_not_refused_from_its_files_alone(candidate):
    verdict = examine(candidate, TARGET, None)
    assert verdict.refusals == ()
    assert not verdict.loaded


def test_all_that_the_files_show_is_told_at_once(affine, candidate):
    affine.ir_version, affine.opset_import[0].version = 11, 23
    affine.graph.node[1].domain = "com.microsoft"
    affine.graph.node[1].op_type = "Gelu"
    affine.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5
    onnx.save(affine, str(candidate.graph))
    candidate.configs["onnx"].parameters["execution_mode"].string_value = "5"
    found = examine(candidate, TARGET, None).refusals
    for part in ("IR 11", "opset 23", "operator Gelu of com.microsoft", "execution_mode are 0 or 1", "shape [-1,5]"):
        assert sum(part in sentence for sentence in found) == 1
    assert len(found) == 5


def test_an_input_that_is_no_tensor_is_told(candidate):
    path = Path("tests/conformance/repository/a08_auto_seqtype/1/model.onnx")
    assert any("ONNX_TYPE_SEQUENCE" in told for told in examine(replace(candidate, graph=path), TARGET, None).refusals)


def test_generated_inputs_run_and_are_compared_with_nothing(candidate, environments):
    verdict = examine(candidate, TARGET, environments)
    assert verdict.refusals == ()
    assert verdict.loaded
    assert verdict.worst is None


def test_golden_samples_are_compared(affine, candidate, environments):
    golden(candidate, affine)
    verdict = examine(candidate, TARGET, environments)
    assert verdict.refusals == ()
    assert verdict.worst == 0.0


def test_a_golden_output_that_is_not_met_is_refused_with_its_difference(affine, candidate, environments):
    golden(candidate, affine, y=np.array([[1, 0, 6.5, 0], [3, 6, 9, 12]], np.float32))
    verdict = examine(candidate, TARGET, environments)
    assert verdict.static == ()
    assert verdict.worst == 0.5
    assert verdict.refusals == (
        "in ONNX Runtime 1.19.2 output 'y' at x[2, 4]: 1 of 8 values differ by more than "
        "0.0001 + 0.001·|original| (worst 0.5)",
    )


def test_the_signature_that_the_runtime_reports_is_held_against_the_configuration(affine, candidate, environments):
    """The file leaves a dimension open that ONNX Runtime works out: the backend goes by what was worked out."""
    affine.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "width"
    onnx.save(affine, str(candidate.graph))
    for config in candidate.configs.values():
        config.output[0].dims[0] = -1
    verdict = examine(candidate, TARGET, environments)
    assert verdict.static == ()
    assert len(verdict.refusals) == 1
    assert "in ONNX Runtime 1.19.2 net_onnx: model 'net_onnx', tensor 'y'" in verdict.refusals[0]
    assert "(shape [-1,4])" in verdict.refusals[0]


def test_what_the_file_shows_is_not_told_again_by_the_runtime(affine, candidate, environments):
    for config in candidate.configs.values():
        config.output[0].dims[0] = 5
    verdict = examine(candidate, TARGET, environments)
    assert verdict.loaded
    assert verdict.loading == ()
    assert len(verdict.refusals) == 1


def test_what_pip_cannot_get_leaves_the_static_checks(candidate, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    environments = Environments(tmp_path / "preflight")
    verdict = examine(candidate, TARGET, environments)
    assert verdict.refusals == ()
    assert not verdict.loaded
    assert list(environments.missing) == ["1.19.2"]


@pytest.fixture
def released(candidate, spec, tmp_path):
    """A repository with one release of 'net', and the arguments that name it."""
    repository = Repository(tmp_path / "repository")
    evidence = {
        "target": {"release": "24.10"},
        "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 4], "range": None}],
        "parity": {"atol": 1e-4, "rtol": 1e-3, "of_largest": 0.0},
    }
    with repository.locked():
        staged = repository.stage("net")
        (staged / "onnx" / "model.onnx").write_bytes(candidate.graph.read_bytes())
        (staged / "hybrid" / EVIDENCE).write_text(json.dumps(evidence))
        repository.publish("net", staged, model_configs(spec, [X], [Y]))
    return ["--repository", str(repository.root), "--build", str(tmp_path / "build"), "--quiet"]


def test_the_command_shows_a_table_and_the_runtimes_that_are_missing(released, environments, monkeypatch, capsys):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert main(["preflight", *released, "--target", "24.10", "26.08"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "model  release  target  ONNX Runtime  static  loaded  worst difference",
        "net    1        24.10   1.19.2        ok      ok      -",
        "net    1        26.08   1.28.0        ok      -       -",
    ]
    assert captured.err.startswith("note: onnxruntime 1.28.0 cannot be installed for Python 3.")
    assert len(captured.err.splitlines()) == 1


def test_the_command_ends_with_12_and_a_sentence_for_each_refusal(affine, released, environments, tmp_path, capsys):
    """The release's own target is asked where none is named; a broken graph is seen by both checks."""
    model = tmp_path / "repository" / "net_onnx" / "1" / "model.onnx"
    affine.graph.node[1].op_type = "NoSuchOperator"
    affine.ir_version = 11
    onnx.save(affine, str(model))
    assert main(["preflight", "net", *released]) == 12
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1] == "net    1        24.10   1.19.2        refused  refused  -"
    assert captured.err.startswith(
        "error: Triton 24.10 (ONNX Runtime 1.19.2) would not serve release 1 of net: IR 11 is above 10, the highest "
        "that Triton 24.10 (ONNX Runtime 1.19.2) reads; in ONNX Runtime 1.19.2 the graph fails: "
    )
    assert "NoSuchOperator" in captured.err
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize("command", [["convert"], ["preflight"]])
def test_an_unknown_target_is_exit_code_2_and_one_sentence(command, capsys):
    assert main([*command, "--target", "24.01"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --target must be a Triton release from 24.06")
    assert len(error.splitlines()) == 1


def test_a_model_that_is_not_served_is_said(released, environments, capsys):
    assert main(["preflight", "other", *released]) == 9
    assert "serves no release of 'other'; publish it with convert" in capsys.readouterr().err


def test_a_release_is_read_back_from_the_repository(released, candidate, tmp_path):
    found = published(Repository(tmp_path / "repository"), "net", 1)
    assert found.inputs == candidate.inputs
    assert (found.tolerance.atol, found.tolerance.rtol) == (1e-4, 1e-3)
    assert found.configs == candidate.configs
