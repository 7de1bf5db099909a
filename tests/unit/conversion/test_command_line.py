"""The conversion's command line, but for what needs a framework."""

import json

import onnx
import pytest

from conversion.__main__ import main
from conversion.errors import WorkerDied
from conversion.pbtxt import ROLES, model_configs
from conversion.repository import Repository
from conversion.worker import Task, run_worker


@pytest.fixture
def released(tmp_path, spec):
    """A repository with two releases of 'net', and the arguments that name it."""
    repository = Repository(tmp_path / "repository")
    for content in ("first", "second"):
        with repository.locked():
            staged = repository.stage("net")
            for role in ROLES:
                (staged / role / "file").write_text(content)
            repository.publish("net", staged, model_configs(spec, [], []))
    return ["--repository", str(repository.root)]


def test_releases_shows_what_is_served(released, capsys):
    assert main(["releases", *released]) == 0
    assert capsys.readouterr().out == "net: 1 [2]   ([n] is served)\n"


def test_rollback_goes_back_and_to_any_release(released, capsys):
    assert main(["rollback", "net", *released, "--server", "none"]) == 0
    assert main(["rollback", "net", "--to", "2", *released, "--server", "none"]) == 0
    assert capsys.readouterr().out == "net: release 1 is served\nnet: release 2 is served\n"
    assert main(["rollback", "net", "--to", "7", *released, "--server", "none"]) == 9
    assert capsys.readouterr().err == "error: there is no release 7 of net to serve; releases on disk: 1, 2\n"


def test_a_name_that_is_not_published_is_said(released, capsys):
    assert main(["releases", "other", *released]) == 9
    assert "holds no release of 'other'" in capsys.readouterr().err


def test_a_server_that_does_not_answer_stops_the_rollback(released, capsys):
    assert main(["rollback", "net", *released, "--server", "127.0.0.1:1"]) == 9
    assert "the server at 127.0.0.1:1 did not list its models: no Triton answers" in capsys.readouterr().err
    assert main(["releases", *released]) == 0
    assert capsys.readouterr().out == "net: 1 [2]   ([n] is served)\n"


def test_info_and_validate_of_a_file(affine, tmp_path, capsys):
    path = tmp_path / "net.onnx"
    onnx.save(affine, str(path))
    assert main(["validate", str(path)]) == 0
    assert main(["info", str(path)]) == 0
    valid, _, facts = capsys.readouterr().out.partition("\n")
    assert valid == f"{path}: valid"
    assert json.loads(facts)["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 4], "range": None}]


@pytest.mark.parametrize("command", ["validate", "info"])
def test_a_broken_file_is_one_sentence_and_exit_code_8(tmp_path, capsys, command):
    (tmp_path / "net.onnx").write_bytes(b"nothing")
    assert main([command, str(tmp_path / "net.onnx")]) == 8
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize("arguments", [[], ["convert", "--no-such-option"], ["rollback"]])
def test_wrong_use_is_exit_code_2(arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_nothing_to_convert_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["convert"]) == 2
    assert "no model given, and no model.toml below models/" in capsys.readouterr().err


def test_a_worker_without_a_verdict_is_named_with_its_log(spec, tmp_path):
    """A task that there is not: the worker ends with a traceback in its log."""
    with pytest.raises(WorkerDied, match=r"ended with 1; its output is in .*log"):
        run_worker(Task("build", "no_such_function", spec), tmp_path / "work", tmp_path / "log", lambda _: None)
    assert "AttributeError" in (tmp_path / "log").read_text()
