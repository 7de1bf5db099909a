"""Rewritten convolutions give the same answers, whatever their geometry."""

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from conversion.graphs.convolutions import (
    fold_outputs,
    fold_stem,
    merge_siblings,
    slice_before_joining,
    split_concatenated,
)
from conversion.proof.parity import Twin


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array, np.float32), name)


def graph(nodes, weights, shape, outputs=("y",)):
    """A model over x [batch, *shape]."""
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            weights,
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    return onnx.shape_inference.infer_shapes(model)


def answers(model, shape):
    x = np.random.default_rng(3).standard_normal((3, *shape)).astype(np.float32)
    return Twin(model, 1).run({"x": x})


def assert_same(before, after, shape):
    onnx.checker.check_model(after, full_check=True)
    expected, found = answers(before, shape), answers(after, shape)
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)


def operators(model):
    return [node.op_type for node in model.graph.node]


@st.composite
def convolutions(draw):
    """One convolution with few channels: weights, attributes and the size of its input."""
    channels, depth = draw(st.integers(1, 8)), draw(st.integers(1, 5))
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 9)))
    size = (depth, draw(st.integers(5, 14)), draw(st.integers(9, 40)))
    attributes = {
        "kernel_shape": kernel,
        "strides": draw(st.tuples(st.integers(1, 2), st.integers(1, 3))),
        "pads": draw(st.tuples(*[st.integers(0, 3)] * 4)),
    }
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    weights = [constant("w", rng.standard_normal((channels, depth, *kernel)))]
    if draw(st.booleans()):
        weights.append(constant("b", rng.standard_normal(channels)))
    return weights, attributes, size, draw(st.sampled_from(["", "Relu", "Sigmoid"]))


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_folding_keeps_the_answers(case):
    weights, attributes, size, activation = case
    inner = "sum" if activation else "y"
    nodes = [helper.make_node("Conv", ["x", *(w.name for w in weights)], [inner], "conv", **attributes)]
    if activation:
        nodes.append(helper.make_node(activation, [inner], ["y"]))
    before = graph(nodes, weights, size)
    assert_same(before, fold_outputs(before), size)


def test_folding_fills_a_block_of_channels_and_sets_the_activation_right_behind():
    weights = [constant("w", np.ones((2, 1, 1, 5)))]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["s"], kernel_shape=[1, 5], pads=[0, 2, 0, 2]),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    folded = fold_outputs(graph(nodes, weights, (1, 4, 64)))
    conv = folded.graph.node[0]
    channels = next(t.dims[0] for t in folded.graph.initializer if t.name == conv.input[1])
    assert channels >= 16
    assert operators(folded)[:2] == ["Conv", "Relu"]
    assert "w" not in [tensor.name for tensor in folded.graph.initializer]


@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        ((16, 2, 1, 3), {}),
        ((2, 1, 1, 3), {"dilations": [1, 2]}),
        ((2, 1, 1, 3), {"group": 2}),
        ((2, 1, 1, 3), {"auto_pad": "SAME_UPPER"}),
    ],
)
def test_what_fills_blocks_already_or_is_not_plain_is_left_alone(shape, attributes):
    size = (2, 4, 20)
    depth = shape[1] if "group" in attributes else size[0]
    weights = [constant("w", np.ones((shape[0], depth, *shape[2:])))]
    before = graph([helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[1, 3], **attributes)], weights, size)
    assert operators(fold_outputs(before)) == ["Conv"]


def test_a_dynamic_size_is_not_folded():
    weights = [constant("w", np.ones((1, 1, 1, 3)))]
    before = graph([helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[1, 3])], weights, (1, "height", "width"))
    assert operators(fold_outputs(before)) == ["Conv"]


def siblings(second_pads=(0, 1, 0, 1)):
    rng = np.random.default_rng(0)
    weights = [
        constant("w1", rng.standard_normal((3, 2, 1, 3))),
        constant("w2", rng.standard_normal((5, 2, 1, 3))),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["y"], kernel_shape=[1, 3], pads=[0, 1, 0, 1]),
        helper.make_node("Conv", ["x", "w2"], ["z"], kernel_shape=[1, 3], pads=second_pads),
    ]
    return graph(nodes, weights, (2, 3, 12), ("y", "z"))


def test_siblings_become_one_convolution_whose_channels_are_split():
    before = siblings()
    merged = merge_siblings(before)
    assert operators(merged) == ["Conv", "Split"]
    assert_same(before, merged, (2, 3, 12))


def test_convolutions_of_other_geometry_stay_apart():
    assert operators(merge_siblings(siblings(second_pads=(0, 2, 0, 0)))) == ["Conv", "Conv"]


@pytest.mark.parametrize("bias", [True, False])
def test_a_stray_channel_is_added_from_a_convolution_of_its_own(bias):
    rng = np.random.default_rng(0)
    weights = [constant("p", np.ones((16, 1, 1, 1))), constant("w", rng.standard_normal((2, 17, 3, 3)))]
    weights += [constant("b", [1, 2])] if bias else []
    nodes = [
        helper.make_node("Conv", ["x", "p"], ["wide"], kernel_shape=[1, 1]),
        helper.make_node("Concat", ["x", "wide"], ["joined"], axis=1),
        helper.make_node("Conv", ["joined", "w", *(["b"] if bias else [])], ["y"], kernel_shape=[3, 3]),
    ]
    before = graph(nodes, weights, (1, 6, 7))
    split = split_concatenated(before)
    assert operators(split) == ["Conv", "Conv", "Conv", "Add"]
    assert_same(before, split, (1, 6, 7))


def test_a_join_that_others_read_stays():
    weights = [constant("p", np.ones((16, 1, 1, 1))), constant("w", np.ones((2, 17, 1, 1)))]
    nodes = [
        helper.make_node("Conv", ["x", "p"], ["wide"], kernel_shape=[1, 1]),
        helper.make_node("Concat", ["x", "wide"], ["z"], axis=1),
        helper.make_node("Conv", ["z", "w"], ["y"], kernel_shape=[1, 1]),
    ]
    before = graph(nodes, weights, (1, 6, 7), ("y", "z"))
    assert_same(before, split_concatenated(before), (1, 6, 7))


def cut_join(start=0, stop=9, axis=3, readers=()):
    """A slice of three joined maps, of which one is padded: [batch, 1, 4, 12] -> [batch, 3, 4, stop - start]."""
    pads = numpy_helper.from_array(np.array([0, 0, 0, 2, 0, 0, 0, 1], np.int64), "pads")
    bounds = [
        numpy_helper.from_array(np.array([value], np.int64), name)
        for name, value in (("start", start), ("stop", stop), ("axis", axis))
    ]
    narrow = [
        numpy_helper.from_array(np.array([value], np.int64), name) for name, value in (("n0", 1), ("n1", 10), ("n3", 3))
    ]
    nodes = [
        helper.make_node("Slice", ["x", "n0", "n1", "n3"], ["narrow"]),
        helper.make_node("Pad", ["narrow", "pads"], ["padded"]),
        helper.make_node("Neg", ["x"], ["negative"]),
        helper.make_node("Concat", ["padded", "x", "negative"], ["joined"], axis=1),
        helper.make_node("Slice", ["joined", "start", "stop", "axis"], ["y"]),
        *readers,
    ]
    return graph(nodes, [pads, *bounds, *narrow], (1, 4, 12))


@pytest.mark.parametrize(("start", "stop"), [(0, 9), (3, 12), (4, 5), (0, 10**9), (1, 11)])
def test_parts_are_cut_before_they_are_joined_and_padding_shrinks(start, stop):
    before = cut_join(start, stop)
    after = slice_before_joining(before)
    assert operators(after).index("Concat") == len(after.graph.node) - 1
    assert operators(after).count("Pad") == 1
    assert_same(before, after, (1, 4, 12))


def test_a_cut_along_the_axis_of_the_join_stays():
    assert operators(slice_before_joining(cut_join(0, 2, axis=1)))[-1] == "Slice"


@pytest.mark.parametrize("steps", [[], ["", "n0"]])
def test_a_cut_that_names_no_axis_stays(steps):
    before = cut_join()
    cut = before.graph.node[-1]
    del cut.input[3:]
    cut.input.extend(steps)
    assert operators(slice_before_joining(before)) == operators(before)


def test_a_join_that_is_read_whole_as_well_is_not_cut():
    before = cut_join(readers=[helper.make_node("Neg", ["joined"], ["unused"])])
    assert "Concat" in operators(slice_before_joining(before))[:-2]


def stem(kernel, strides, pads, activation="", depth=3, channels=5, bias=True):
    """A first convolution that is fed channels last: x [batch, height, width, depth]."""
    rng = np.random.default_rng(7)
    weights = [constant("w", rng.standard_normal((channels, depth, *kernel)))]
    if bias:
        weights.append(constant("b", rng.standard_normal(channels)))
    names = [weight.name for weight in weights]
    attributes = {"kernel_shape": kernel, "strides": strides, "pads": pads}
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", *names], ["c" if activation else "y"], "conv", **attributes),
    ]
    if activation == "Relu":
        nodes.append(helper.make_node("Relu", ["c"], ["y"]))
    if activation == "Clip":
        weights += [constant("low", 0.0), constant("high", 6.0)]
        nodes.append(helper.make_node("Clip", ["c", "low", "high"], ["y"]))
    return nodes, weights


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 7)),
    down=st.integers(1, 3),
    stride=st.integers(1, 3),
    left=st.integers(0, 3),
    positions=st.integers(1, 5),
    depth=st.integers(1, 13),
    activation=st.sampled_from(["", "Relu", "Clip"]),
    bias=st.booleans(),
)
def test_a_folded_stem_keeps_the_answers(kernel, down, stride, left, positions, depth, activation, bias):
    """The right padding gives as many outputs as the stride leaves pixels, as 'same' does."""
    width = 8 * stride * positions
    right = (8 * positions - 1) * stride + kernel[1] - width - left
    if right < 0:
        left, right = left + right, 0
    assume(left >= 0)
    nodes, weights = stem(kernel, (down, stride), (1, left, 1, right), activation, depth, bias=bias)
    before = graph(nodes, weights, (9, width, depth))
    after = fold_stem(before)
    assert ("Reshape" in operators(after)) is (depth < 12)
    assert_same(before, after, (9, width, depth))


def test_a_stem_takes_twelve_channels_of_the_pixels_as_they_lie():
    before = graph(*stem((3, 3), (2, 2), (0, 0, 1, 1), "Clip"), (16, 16, 3))
    after = fold_stem(before)
    assert operators(after) == ["Reshape", "Transpose", "Conv", "Clip", "Transpose", "Reshape", "Transpose"]
    kernel = next(tensor for tensor in after.graph.initializer if tensor.name.endswith("/kernel"))
    assert list(kernel.dims) == [10, 12, 3, 2]
    assert "w" not in {tensor.name for tensor in after.graph.initializer}


@pytest.mark.parametrize(
    ("size", "pads", "why"),
    [
        ((16, 15, 3), (0, 0, 0, 0), "the width is no multiple"),
        ((16, 16, 3), (0, 0, 0, 0), "fewer outputs than the stride leaves pixels"),
        ((16, "width", 3), (0, 0, 1, 1), "a dynamic width"),
    ],
)
def test_a_stem_that_does_not_work_out_is_left_alone(size, pads, why):
    before = graph(*stem((3, 3), (2, 2), pads), size)
    assert operators(fold_stem(before)) == ["Transpose", "Conv"], why


def test_a_stem_is_not_folded_where_others_read_its_input_or_it_is_fed_channels_first():
    nodes, weights = stem((3, 3), (2, 2), (0, 0, 1, 1))
    shared = graph([*nodes, helper.make_node("Relu", ["t"], ["z"])], weights, (16, 16, 3), ("y", "z"))
    assert operators(fold_stem(shared)) == ["Transpose", "Conv", "Relu"]
    nodes[0].attribute[0].ints[:] = [0, 1, 2, 3]
    assert operators(fold_stem(graph(nodes, weights, (3, 16, 16)))) == ["Transpose", "Conv"]
