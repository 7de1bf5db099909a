"""The memory of a twin, in a real process of its own."""

import numpy as np
import onnx
import pytest

from conversion.errors import MeasuringFailed
from conversion.measuring.memory import peak_memory_mb
from conversion.profiles import profile_for
from conversion.spec.serving import GpuSpec

ROW = {"x": np.ones((1, 4), np.float32)}


@pytest.fixture
def twin(affine, tmp_path):
    onnx.save(affine, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_a_twin_is_measured_on_the_cpu_unless_told_otherwise(twin):
    assert peak_memory_mb("twin", twin, ROW, (1, 3), threads=1) > 1


def test_a_gpus_providers_reach_the_process_and_are_not_replaced_by_the_cpu(twin):
    where = profile_for("gpu", GpuSpec("tensorrt", "fp16"))
    with pytest.raises(MeasuringFailed, match="instead of TensorrtExecutionProvider"):
        peak_memory_mb("twin", twin, ROW, (1,), threads=1, where=where)


def test_inputs_may_have_any_name_and_hold_any_string(tmp_path):
    graph = onnx.parser.parse_model(
        """
        <ir_version: 9, opset_import: ["" : 18]>
        g (string[batch] file, float[batch, 2] allow_pickle) => (string[batch] s, float[batch, 2] y)
        { s = Identity(file)  y = Neg(allow_pickle) }
        """
    )
    onnx.save(graph, tmp_path / "model.onnx")
    row = {"file": np.array(["é"], object), "allow_pickle": np.ones((1, 2), np.float32)}
    assert peak_memory_mb("twin", tmp_path / "model.onnx", row, (1, 3), threads=1) > 1
