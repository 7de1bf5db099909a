"""Graphs in the ONNX Runtime of other releases, as pip has it. These tests need a package index."""

import json
import subprocess

import numpy as np
import onnx
import pytest

from conversion.__main__ import main
from conversion.preflight.environments import Environments, load_in
from conversion.publishing.repository import Repository

AFFINE = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
affine (float[batch, 4] x) => (float[batch, 4] y) <float[4] w = {{1, 2, 3, 4}}> {{ y = Mul(x, w) }}
"""
INPUT = 'inputs = [{ name = "x", dtype = "float32", shape = ["batch", 4] }]\n'
SERVING = "[serving]\nmax_batch_size = 4\ninstances = 1\nthreads = 1\ndynamic_batching = true\n"
LINEAR = "import torch\n\ndef build():\n    torch.manual_seed(0)\n    return torch.nn.Linear(4, 2)\n"
# ONNX Runtime 1.23 reads opset 23, and has no kernel for its QuantizeLinear on a CPU.
QUANTISED = """
import torch
import torch.ao.quantization.fx._decomposed

ops = torch.ops.quantized_decomposed

class Quantised(torch.nn.Module):
    def forward(self, x):
        whole = ops.quantize_per_tensor(x, 0.1, 0, -128, 127, torch.int8)
        return ops.dequantize_per_tensor(whole, 0.1, 0, -128, 127, torch.int8)

build = Quantised
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """The build folder of this module: an environment is made once."""
    return tmp_path_factory.mktemp("build")


def convert(folder, build, text, code, *more):
    """Convert a model by the command line, the first twin that matches; gives the exit code and the repository."""
    folder.mkdir(exist_ok=True)
    (folder / "model.toml").write_text(text)
    (folder / "net.py").write_text(code)
    repository = folder.parent / "repository"
    arguments = ["--repository", str(repository), "--build", str(build), "--server", "none", "--quiet"]
    return main(["convert", str(folder), *arguments, "--search", "off", *more]), Repository(repository)


def test_an_older_onnx_runtime_reads_what_the_table_says_and_no_more(build, tmp_path):
    environments = Environments(build / "preflight")
    python = environments.python("1.19.2")
    assert python == build / "preflight" / "onnxruntime-1.19.2" / "bin" / "python"
    program = "import onnxruntime; print(onnxruntime.__version__)"
    said = subprocess.run([str(python), "-I", "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout == "1.19.2\n"
    x = np.ones((2, 4), np.float32)
    failures = {}
    for ir, opset in ((10, 21), (10, 22), (11, 21)):
        path = tmp_path / "net.onnx"
        onnx.save(onnx.parser.parse_model(AFFINE.format(ir=ir, opset=opset)), str(path))
        loaded = load_in(python, path, {"x": x})
        failures[ir, opset] = loaded.failure
        if loaded.failure is None:
            assert loaded.outputs["y"].tolist() == [[1, 2, 3, 4]] * 2
    assert failures[10, 21] is None
    assert "Opset 22 is under development" in failures[10, 22]
    assert "Unsupported model IR version: 11, max supported IR version: 10" in failures[11, 21]


def test_a_version_that_was_never_packaged_is_said(build):
    environments = Environments(build / "preflight")
    assert environments.python("1.17.2") is None
    assert "No matching distribution found for onnxruntime==1.17.2" in environments.missing["1.17.2"]


def test_a_graph_without_a_kernel_in_the_target_is_not_published(build, tmp_path, capsys):
    """Every static check passes, and so does parity in the ONNX Runtime that converts."""
    export = '[export]\nopset = 23\nexporter = "dynamo"\n'
    text = f'target = "25.11"\n{INPUT}[source]\nfactory = "net.py:build"\n{export}{SERVING}'
    code, repository = convert(tmp_path / "quantised", build, text, QUANTISED, "--preflight")
    captured = capsys.readouterr()
    assert code == 12
    assert captured.err.startswith(
        "error: Triton 25.11 (ONNX Runtime 1.23.2) would not serve the new release of quantised, which was not "
        "published: in ONNX Runtime 1.23.2 the graph fails: Could not find an implementation for QuantizeLinear(23)"
    )
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""
    assert repository.names() == []


def test_a_configuration_that_would_not_load_is_not_published(build, tmp_path, capsys):
    """Nobody is asked to load it: the sentence is the hybrid's own. Its list of names has commas between them."""
    outputs = '[[outputs]]\nname = "a,b"\n'
    text = f'{INPUT}{outputs}[source]\nfactory = "net.py:build"\n{SERVING}allow_non_finite_outputs = ["a,b"]\n'
    code, repository = convert(tmp_path / "net", build, text, LINEAR)
    error = capsys.readouterr().err
    assert code == 12
    assert "parameter 'allow_non_finite_outputs' of the hybrid must be names out of" in error
    assert len(error.splitlines()) == 1
    assert repository.names() == []


def test_a_release_was_loaded_where_it_will_be_served_and_says_so(build, tmp_path, capsys):
    text = f'{INPUT}[source]\nfactory = "net.py:build"\n{SERVING}'
    folder = tmp_path / "net"
    code, repository = convert(folder, build, text, LINEAR)
    assert code == 0
    evidence = repository.release_folder("net", "hybrid", 1) / "evidence.json"
    target = {"release": "24.10", "python": "3.10", "onnxruntime": "1.19.2", "opset": 21, "ir": 10}
    assert json.loads(evidence.read_text())["target"] == {**target, "loaded": False}
    capsys.readouterr()
    assert convert(folder, build, text, LINEAR, "--preflight")[0] == 0
    assert "unchanged, release 1 holds it" in capsys.readouterr().out
    assert convert(folder, build, text, LINEAR, "--preflight", "--force")[0] == 0
    evidence = repository.release_folder("net", "hybrid", 2) / "evidence.json"
    assert json.loads(evidence.read_text())["target"] == {**target, "loaded": True}
    capsys.readouterr()
    assert main(["preflight", "net", "--repository", str(repository.root), "--build", str(build)]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:6] == ["net", "2", "24.10", "1.19.2", "ok", "ok"]
    # What a target was is part of what a release is.
    assert convert(folder, build, text, LINEAR, "--target", "26.08")[0] == 0
    assert "release 3 published" in capsys.readouterr().out
