"""Graphs and specs that the unit tests share."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from conversion.interface import Facts
from conversion.proof.subject import Subject
from conversion.spec import InputSpec, ModelSpec, SourceSpec
from conversion.spec.serving import ServingSpec

from .classifier import SIZE, Original, batch

AFFINE = """
<ir_version: 9, opset_import: ["" : 18]>
affine (float[batch, 4] x) => (float[batch, 4] y)
<float[4] w = {1, 2, 3, 4}>
{
  scaled = Mul(x, w)
  y = Relu(scaled)
}
"""


@pytest.fixture
def affine() -> onnx.ModelProto:
    """y = relu(x * w), batch dynamic."""
    return onnx.parser.parse_model(AFFINE)


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    """A spec of a Keras model whose file is not there."""
    return ModelSpec(name="net", folder=tmp_path, source=SourceSpec(format="keras", path="net.keras"))


@pytest.fixture
def subject(tmp_path: Path):
    """Makes a subject out of a graph, with changes to its spec."""

    def make(graph, change=None, **more):
        spec = ModelSpec(
            name="net",
            folder=tmp_path,
            source=SourceSpec(format="torch_module", factory="net.py:build"),
            inputs=(InputSpec("x", "float32", ("batch", *SIZE)),),
            serving=replace(ServingSpec(), max_batch_size=16, original_threads=1),
        )
        facts = (Facts("x", "float32", ("batch", *SIZE)),)
        return Subject(replace(spec, **more), Original(graph, change), facts, ("scores",), batch, tmp_path)

    return make
