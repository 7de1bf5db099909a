"""Graphs and specs that the unit tests share."""

from pathlib import Path

import onnx
import pytest

from conversion.spec import ModelSpec, SourceSpec

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
