"""Sessions for each batch size: what becomes of them where no CUDA graph can be made, and when a graph is to be used.

That graphs answer as their sessions do takes a GPU: `make bench PROFILE=gpu` and every load of a model there hold each
of them against its session.
"""

import ctypes

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from python_backend.onnxruntime.cuda_graph import OPTION, CudaGraph
from python_backend.onnxruntime.errors import CaptureRefused
from python_backend.onnxruntime.padding import PaddedRows
from python_backend.onnxruntime.session import options_of
from python_backend.onnxruntime.sized import SizedSessions


@pytest.fixture(scope="module")
def doubling():
    """An ONNX file: x [n, 3] in, twice of it out."""
    return file_of(helper.make_node("Add", ["x", "x"], ["y"]))


@pytest.fixture(scope="module")
def drawing():
    """An ONNX file that answers with random numbers."""
    return file_of(helper.make_node("RandomNormalLike", ["x"], ["y"]))


def file_of(node):
    graph = helper.make_graph(
        [node],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def opened(content):
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def test_where_no_graph_can_be_made_every_size_runs_on_a_session_without_one(doubling):
    asked = []

    def open_session(graphs):
        asked.append(graphs)
        return opened(doubling)

    sessions = SizedSessions(open_session, lambda session: session.run, graphs=True)
    run = PaddedRows(opened(doubling).run, (1, 2, 4), sessions.open)
    for rows in (3, 1, 3, 2):
        x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
        np.testing.assert_array_equal(run(["y"], {"x": x})[0], 2 * x)
    assert sorted(sessions.refused) == [1, 2, 4]
    assert all(sessions.refused.values()), "each with its reason"
    assert asked.count(False) == 3, "one session a size, opened once"


def test_graphs_are_made_only_where_they_are_asked_for(doubling):
    sessions = SizedSessions(lambda graphs: {False: opened}[graphs](doubling), lambda session: session.run)
    x = np.ones((3, 3), np.float32)
    np.testing.assert_array_equal(sessions.open(4)(["y"], {"x": x})[0], np.full((4, 3), 2))
    assert sessions.refused == {}


def test_a_session_that_cannot_be_captured_is_refused_with_the_reason(doubling):
    with pytest.raises(CaptureRefused, match="CUDA"):
        CudaGraph(opened(doubling), {"x": np.ones((2, 3), np.float32)}, ("cuda", 0), write)


def test_a_session_that_meets_many_sizes_makes_no_graphs():
    options = {OPTION: "1", "use_tf32": "0"}
    assert options_of(options, graphs=False) == {"use_tf32": "0"}
    assert options_of(options, graphs=True) == options


HOST = ("cpu", 0)


def write(array, address):
    content = np.ascontiguousarray(array)
    ctypes.memmove(address, content.ctypes.data, content.nbytes)


def test_a_graph_takes_up_to_its_rows_and_keeps_what_lies_behind_them(doubling):
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    graph = CudaGraph(opened(doubling), {"x": x}, HOST, write)
    np.testing.assert_array_equal(graph(["y"], {"x": x})[0], 2 * x)
    few = -x[:2].copy()
    assert graph.fits({"x": few})
    np.testing.assert_array_equal(graph(["y"], {"x": few})[0], np.concatenate([2 * few, 2 * x[2:]]))


@pytest.mark.parametrize(
    "feeds",
    [
        {"x": np.ones((5, 3), np.float32)},
        {"x": np.ones((2, 2), np.float32)},
        {"x": np.ones((2, 3), np.float64)},
        {"z": np.ones((2, 3), np.float32)},
        {},
    ],
)
def test_a_graph_is_for_its_own_inputs_dtypes_and_shapes(doubling, feeds):
    graph = CudaGraph(opened(doubling), {"x": np.ones((4, 3), np.float32)}, HOST, write)
    assert not graph.fits(feeds)


def test_a_graph_that_answers_otherwise_than_its_session_is_refused(drawing):
    with pytest.raises(CaptureRefused, match="output 'y' of the CUDA graph is not that of its session"):
        CudaGraph(opened(drawing), {"x": np.ones((2, 3), np.float32)}, HOST, write)
