"""Loading a graph in another process's ONNX Runtime; making an environment needs pip, and is a live test."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from conversion.preflight.environments import Environments, load_in

HERE = Path(sys.executable)
X = np.array([[1, -1, 2, 0]], np.float32)


@pytest.fixture
def graph(affine, tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(affine, str(path))
    return path


def test_a_graph_is_loaded_and_run_in_a_process_of_its_own(graph):
    loaded = load_in(HERE, graph, {"x": X})
    assert loaded.failure is None
    assert loaded.outputs["y"].tolist() == [[1, 0, 6, 0]]
    assert loaded.facts["outputs"] == [{"name": "y", "type": "tensor(float)", "shape": ["batch", 4]}]
    assert loaded.facts["ran"] == [{"name": "y", "dtype": "float32", "shape": [1, 4]}]


@pytest.mark.parametrize(
    "words",
    [
        np.array([[b"wei\xc3\x9f", b"b"]], object),
        np.array([["weiß", "b"]], object),
        np.array([["weiß", "b"]]),
        np.array([[b"wei\xc3\x9f", b"b"]]),
    ],
    ids=["bytes", "texts", "fixed texts", "fixed bytes"],
)
def test_strings_go_in_and_come_out_whole(tmp_path, words):
    text = '<ir_version: 9, opset_import: ["" : 18]> g (string[n, 2] x) => (string[n, 2] y) { y = Identity(x) }'
    path = tmp_path / "net.onnx"
    onnx.save(onnx.parser.parse_model(text), str(path))
    loaded = load_in(HERE, path, {"x": words})
    assert loaded.failure is None
    assert loaded.outputs["y"].tolist() == [["weiß".encode(), b"b"]]
    assert loaded.facts["ran"] == [{"name": "y", "dtype": "string", "shape": [1, 2]}]


def test_a_graph_that_does_not_load_is_told_in_the_words_of_that_onnx_runtime(affine, graph):
    affine.ir_version = 99
    onnx.save(affine, str(graph))
    loaded = load_in(HERE, graph, {"x": X})
    assert loaded.failure is not None
    assert loaded.failure.startswith("Load model from ")
    assert "Unsupported model IR version: 99" in loaded.failure
    assert "outputs" not in loaded.facts


def test_a_graph_that_loads_and_does_not_run_still_tells_its_signature(graph):
    loaded = load_in(HERE, graph, {"x": X[:, :3]})
    assert loaded.failure is not None
    assert "Got invalid dimensions for input: x" in loaded.failure
    assert loaded.facts["inputs"] == [{"name": "x", "type": "tensor(float)", "shape": ["batch", 4]}]
    assert loaded.outputs == {}


def test_a_process_that_dies_is_told_with_its_last_words(graph, tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'no such library' >&2\nexit 3\n")
    broken.chmod(0o755)
    assert load_in(broken, graph, {"x": X}).failure == "its process ended with 3: no such library"


def test_what_pip_cannot_get_is_one_sentence_and_is_not_tried_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    environments = Environments(tmp_path / "preflight")
    assert environments.python("1.19.2") is None
    told = environments.missing["1.19.2"]
    assert told.startswith("onnxruntime 1.19.2 cannot be installed for Python 3.")
    assert "No matching distribution found for onnxruntime==1.19.2" in told
    assert "the static checks alone count" in told
    assert len(told.splitlines()) == 1
    assert list((tmp_path / "preflight").iterdir()) == []
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert environments.python("1.19.2") is None


def broken(folder, how):
    """An environment that is no longer one; gives its folder."""
    home = folder / "onnxruntime-1.19.2"
    (home / "bin").mkdir(parents=True)
    python = home / "bin" / "python"
    if how == "a Python that is gone":
        python.symlink_to("/nowhere/bin/python3.11")
    elif how == "another machine's":
        python.write_bytes(b"\x7fELF")
        python.chmod(0o755)
    elif how == "a Python without its packages":
        python.write_text("#!/bin/sh\nexit 1\n")
        python.chmod(0o755)
    return home


BREAKS = ["a Python that is gone", "another machine's", "a Python without its packages", "nothing at all"]


@pytest.mark.parametrize("how", BREAKS)
def test_an_environment_that_no_longer_works_is_made_anew(tmp_path, monkeypatch, graph, how):
    home = broken(tmp_path, how)
    steps = []

    def step(command):
        """Plays venv and pip."""
        steps.append(command)
        if "venv" in command:
            python = Path(command[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.write_text(f'#!/bin/sh\nexec {HERE} "$@"\n')
            python.chmod(0o755)

    monkeypatch.setattr("conversion.preflight.environments._run", step)
    environments = Environments(tmp_path)
    python = environments.python("1.19.2")
    assert python == home / "bin" / "python"
    assert load_in(python, graph, {"x": X}).failure is None
    assert environments.missing == {}
    assert len(steps) == 2
    assert environments.python("1.19.2") == python
    assert len(steps) == 2
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "onnx"))] == [home.name]


@pytest.mark.parametrize("how", BREAKS)
def test_one_that_cannot_be_made_anew_is_one_sentence(tmp_path, monkeypatch, how):
    broken(tmp_path, how)
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    environments = Environments(tmp_path)
    assert environments.python("1.19.2") is None
    told = environments.missing["1.19.2"]
    assert "(/nowhere/python cannot be started: No such file or directory)" in told
    assert len(told.splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    environments = Environments(tmp_path / "file" / "preflight")
    assert environments.python("1.19.2") is None
    assert f"({tmp_path}/file/preflight: Not a directory)" in environments.missing["1.19.2"]


def test_a_process_that_cannot_be_started_is_one_sentence(graph, tmp_path):
    told = load_in(tmp_path / "python", graph, {"x": X}).failure
    assert told == f"{tmp_path}/python cannot be started: No such file or directory"
