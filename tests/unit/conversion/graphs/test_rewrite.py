import numpy as np
import onnx
import pytest

from conversion.graphs.graph import load_onnx, tensor_facts
from conversion.graphs.rewrite import declare, loosen, rename, save
from conversion.interface import Facts
from conversion.proof.parity import Twin
from conversion.targets import TARGETS


def run(model, **arrays):
    return Twin(model, 1).run(arrays)


def test_inputs_and_outputs_take_the_names_asked_for(affine):
    rename(affine, {"x": "image", "y": "logits"})
    onnx.checker.check_model(affine)
    x = np.ones((2, 4), np.float32)
    assert run(affine, image=x)["logits"].tolist() == [[1, 2, 3, 4]] * 2


def test_an_inner_tensor_gives_way_to_a_wanted_name(affine):
    rename(affine, {"y": "scaled", "x": "w"})
    onnx.checker.check_model(affine)
    assert run(affine, w=np.ones((1, 4), np.float32))["scaled"].tolist() == [[1, 2, 3, 4]]


def test_two_names_can_change_places():
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 18]> g (float[n] a, float[n] b) => (float[n] y) { y = Sub(a, b) }'
    )
    rename(model, {"a": "b", "b": "a"})
    got = run(model, a=np.array([1.0], np.float32), b=np.array([5.0], np.float32))
    assert got["y"].tolist() == [4.0]


def test_names_change_inside_branches_too():
    model = onnx.parser.parse_model(
        """
        <ir_version: 9, opset_import: ["" : 18]>
        g (bool c, float[n] x) => (float[n] y) {
          y = If (c) <
            then_branch = t () => (float[n] r) { r = Neg(x) },
            else_branch = e () => (float[n] s) { s = Identity(x) }
          >
        }
        """
    )
    rename(model, {"x": "wave"})
    onnx.checker.check_model(model)
    assert run(model, c=np.array(True), wave=np.array([3.0], np.float32))["y"].tolist() == [-3.0]


@pytest.mark.parametrize(("target", "ir"), [("24.10", 10), ("25.11", 11), ("26.08", 13)])
def test_only_dimensions_that_are_dynamic_get_a_name_and_the_target_caps_the_ir(affine, target, ir):
    affine.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "s0"
    affine.ir_version = 14
    declare(affine, [Facts("x", "float32", ("batch", "width"))], True, TARGETS[target])
    assert tensor_facts(affine.graph.input[0]).shape == ("batch", 4)
    assert tensor_facts(affine.graph.output[0]).shape == ("batch", 4)
    assert affine.ir_version == ir


@pytest.mark.parametrize("external", [False, True])
def test_a_saved_model_comes_back_with_its_weights(affine, tmp_path, external):
    big = onnx.numpy_helper.from_array(np.arange(4, dtype=np.float32).repeat(1), "w")
    affine.graph.initializer[0].CopyFrom(big)
    path = tmp_path / "net.onnx"
    save(affine, path, external)
    assert (tmp_path / "net.onnx.data").exists() is False or external
    assert run(load_onnx(path), x=np.ones((1, 4), np.float32))["y"].tolist() == [[0, 1, 2, 3]]


def test_whoever_goes_on_with_a_model_that_was_saved_finds_its_weights_in_it(affine, tmp_path):
    """Weights below a kilobyte are never put beside the file."""
    for value in (*affine.graph.input, *affine.graph.output):
        value.type.tensor_type.shape.dim[1].dim_value = 512
    affine.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.arange(512, dtype=np.float32), "w"))
    save(affine, tmp_path / "net.onnx", True)
    assert (tmp_path / "net.onnx.data").stat().st_size >= 2048
    assert run(affine, x=np.ones((1, 512), np.float32))["y"][0, -1] == 511
    save(affine, tmp_path / "again.onnx", True)
    assert (tmp_path / "again.onnx.data").read_bytes() == (tmp_path / "net.onnx.data").read_bytes()


def _sized(*shapes):
    return [{"y": shape} for shape in shapes]


@pytest.mark.parametrize(
    ("answers", "batched", "shape"),
    [
        (_sized((2, 4), (5, 4)), True, (2, 4)),
        (_sized((2, 4), (5, 4)), False, ("y_0", 4)),
        (_sized((2, 4), (2, 7)), True, (2, "y_1")),
        (_sized((2, 7), (2, 7)), True, (2, "y_1")),
        (_sized((2, 4)), True, (2, 4)),
        ([], True, (2, 4)),
    ],
)
def test_a_size_of_an_output_that_answers_contradict_is_dynamic(affine, answers, batched, shape):
    dims = affine.graph.output[0].type.tensor_type.shape.dim
    dims[0].dim_value, dims[1].dim_value = 2, 4
    loosen(affine, answers, batched)
    assert tensor_facts(affine.graph.output[0]).shape == shape


def test_an_output_without_a_shape_gets_the_rank_of_the_answers(affine):
    affine.graph.output[0].type.tensor_type.ClearField("shape")
    loosen(affine, _sized((2, 4)), True)
    declare(affine, [], True, TARGETS["24.10"])
    assert tensor_facts(affine.graph.output[0]).shape == ("batch", "y_1")
