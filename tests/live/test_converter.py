"""`ONNXConverter`: the four verbs on real files of both frameworks."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from conversion import ConversionError, ONNXConverter

MODELS = Path(__file__).parents[1] / "own_models"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The artefacts of three of the models in tests/own_models."""
    home = tmp_path_factory.mktemp("converter")
    for name in ("keras3_two_inputs", "saved_model_labels", "torchscript_two_outputs"):
        subprocess.run([sys.executable, str(MODELS / name / "make.py")], cwd=home, check=True, timeout=120)
    return home


def test_a_keras_file(made, tmp_path):
    path = ONNXConverter().convert_tensorflow_model(made / "net.keras", tmp_path / "out" / "twin.onnx")
    assert path == tmp_path / "out" / "twin.onnx"
    assert [p.name for p in path.parent.iterdir()] == ["twin.onnx"]
    assert ONNXConverter().validate_onnx_model(path)
    info = ONNXConverter().get_model_info(path)
    assert [(i["name"], i["dtype"], i["shape"]) for i in info["inputs"]] == [
        ("picture", "float32", ("batch", 16, 16, 3)),
        ("words", "int32", ("batch", "words_1")),
    ]
    assert [o["name"] for o in info["outputs"]] == ["per_word", "verdict"]


def test_a_saved_model_with_a_shape_for_its_only_input(made, tmp_path):
    path = ONNXConverter(max_batch_size=4).convert_tensorflow_model(
        str(made / "exported"), str(tmp_path / "labels.onnx"), input_shape=(None, 6)
    )
    session = onnxruntime.InferenceSession(str(path))
    label, score = session.run(["label", "score"], {"features": np.ones((3, 6), np.float32)})
    assert label.shape == (3,)
    assert score.shape == (3, 3)


def test_a_torchscript_file_with_a_shape_for_each_input(made, tmp_path):
    path = ONNXConverter().convert_pytorch_model(
        made / "net.pt", tmp_path / "pair.onnx", input_shape={"left": (None, 10), "right": (None, 10)}
    )
    session = onnxruntime.InferenceSession(str(path))
    product, distance = session.run(None, {name: np.ones((5, 10), np.float32) for name in ("left", "right")})
    assert product.shape == (5, 6)
    assert distance.tolist() == [[0.0]] * 5


def test_torchscript_without_a_shape_says_what_is_missing(made, tmp_path):
    with pytest.raises(ConversionError, match=r"does not tell its inputs; give input_shape"):
        ONNXConverter().convert_pytorch_model(made / "net.pt", tmp_path / "pair.onnx")


def test_a_wrong_shape_writes_nothing(made, tmp_path):
    with pytest.raises(ConversionError, match="the original model failed"):
        ONNXConverter().convert_pytorch_model(
            made / "net.pt", tmp_path / "pair.onnx", input_shape={"left": (None, 9), "right": (None, 9)}
        )
    assert list(tmp_path.iterdir()) == []
