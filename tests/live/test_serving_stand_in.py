"""The stand-in on a real Triton beyond the conformance cases: every dtype, batches, streams, and bad requests."""

import queue
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from serving import LoadFailed

DTYPES = {
    "TYPE_BOOL": ("BOOL", np.bool_, TensorProto.BOOL),
    "TYPE_UINT8": ("UINT8", np.uint8, TensorProto.UINT8),
    "TYPE_UINT16": ("UINT16", np.uint16, TensorProto.UINT16),
    "TYPE_UINT32": ("UINT32", np.uint32, TensorProto.UINT32),
    "TYPE_UINT64": ("UINT64", np.uint64, TensorProto.UINT64),
    "TYPE_INT8": ("INT8", np.int8, TensorProto.INT8),
    "TYPE_INT16": ("INT16", np.int16, TensorProto.INT16),
    "TYPE_INT32": ("INT32", np.int32, TensorProto.INT32),
    "TYPE_INT64": ("INT64", np.int64, TensorProto.INT64),
    "TYPE_FP16": ("FP16", np.float16, TensorProto.FLOAT16),
    "TYPE_FP32": ("FP32", np.float32, TensorProto.FLOAT),
    "TYPE_FP64": ("FP64", np.float64, TensorProto.DOUBLE),
    "TYPE_STRING": ("BYTES", np.object_, TensorProto.STRING),
}


def publish(folder: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], config: str) -> Path:
    graph = helper.make_graph(nodes, "graph", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (folder / "1").mkdir(parents=True)
    onnx.save(model, folder / "1" / "model.onnx")
    (folder / "config.pbtxt").write_text(f'backend: "onnxruntime"\ninstance_group {{ count: 1 }}\n{config}')
    return folder


def value(name: str, kind: int, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.fixture(scope="module")
def client(triton) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(triton.server.grpc_url) as client:
        yield client


@pytest.fixture(scope="module")
def every_dtype(triton, tmp_path_factory) -> Iterator[str]:
    """One Identity for each dtype that Triton has, completed by the stand-in."""
    folder = publish(
        tmp_path_factory.mktemp("models") / "every_dtype",
        [helper.make_node("Identity", [f"in_{key}"], [f"out_{key}"]) for key in DTYPES],
        [value(f"in_{key}", kind, "N", "L") for key, (_, _, kind) in DTYPES.items()],
        [value(f"out_{key}", kind, "N", "L") for key, (_, _, kind) in DTYPES.items()],
        "max_batch_size: 8",
    )
    yield triton.add(folder)
    triton.drop("every_dtype")


def sample(kind: type, rows: int) -> Any:
    if kind is np.object_:
        texts = [f"é{number}".encode() for number in range(rows * 3)]
        return np.array(texts, np.object_).reshape(rows, 3)
    if kind is np.bool_:
        return np.arange(rows * 3).reshape(rows, 3) % 2 == 0
    if issubclass(kind, np.integer):
        return np.array([np.iinfo(kind).min, 1, np.iinfo(kind).max] * rows, kind).reshape(rows, 3)
    return np.linspace(-3, 3, rows * 3).astype(kind).reshape(rows, 3)


@pytest.mark.parametrize("rows", [1, 3])
def test_every_dtype_comes_back_as_it_went_in(client: InferenceServerClient, every_dtype: str, rows: int) -> None:
    given = {key: sample(kind, rows) for key, (_, kind, _) in DTYPES.items()}
    inputs = [
        InferInput(f"in_{key}", list(given[key].shape), wire).set_data_from_numpy(given[key])
        for key, (wire, _, _) in DTYPES.items()
    ]
    answer = client.infer(every_dtype, inputs, client_timeout=20)
    for key, array in given.items():
        back = answer.as_numpy(f"out_{key}")
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back.reshape(array.shape), array)


def test_an_empty_tensor_comes_back_empty(client: InferenceServerClient, triton, tmp_path) -> None:
    folder = publish(
        tmp_path / "unbatched",
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in ("x", "s")],
        [value("x", TensorProto.FLOAT, "N", 3), value("s", TensorProto.STRING, "N")],
        [value("x_out", TensorProto.FLOAT, "N", 3), value("s_out", TensorProto.STRING, "N")],
        'input { name: "x" data_type: TYPE_FP32 dims: [-1, 3] } input { name: "s" data_type: TYPE_STRING dims: -1 }'
        'output { name: "x_out" data_type: TYPE_FP32 dims: [-1, 3] }'
        'output { name: "s_out" data_type: TYPE_STRING dims: -1 }',
    )
    name = triton.add(folder)
    inputs = [
        InferInput("x", [0, 3], "FP32").set_data_from_numpy(np.empty((0, 3), np.float32)),
        InferInput("s", [0], "BYTES").set_data_from_numpy(np.empty(0, np.object_)),
    ]
    answer = client.infer(name, inputs, client_timeout=20)
    assert answer.as_numpy("x_out").shape == (0, 3)
    assert answer.as_numpy("s_out").shape == (0,)
    triton.drop(name)


@pytest.fixture(scope="module")
def picky(triton, tmp_path_factory) -> Iterator[str]:
    """y = table[x], with a table of four numbers: any other index is an error of the graph."""
    table = helper.make_node(
        "Constant", [], ["table"], value=helper.make_tensor("t", TensorProto.FLOAT, [4], [0.0, 10.0, 20.0, 30.0])
    )
    folder = publish(
        tmp_path_factory.mktemp("models") / "picky",
        [table, helper.make_node("Gather", ["table", "x"], ["y"])],
        [value("x", TensorProto.INT64, "N", 1)],
        [value("y", TensorProto.FLOAT, "N", 1)],
        "max_batch_size: 8 dynamic_batching { preferred_batch_size: 8 max_queue_delay_microseconds: 500000 }",
    )
    yield triton.add(folder)
    triton.drop("picky")


def index(number: int) -> list[InferInput]:
    return [InferInput("x", [1, 1], "INT64").set_data_from_numpy(np.array([[number]], np.int64))]


def executions(client: InferenceServerClient, model: str) -> int:
    """How often the model was run, once all eight rows are counted: Triton counts after it has answered."""
    end = time.monotonic() + 5
    while True:
        stats = client.get_inference_statistics(model).model_stats[0]
        if stats.inference_count >= 8 or time.monotonic() > end:
            return int(stats.execution_count)
        time.sleep(0.05)


def test_one_bad_request_of_a_batch_fails_alone(client: InferenceServerClient, picky: str, triton) -> None:
    def ask(number: int) -> float | str:
        try:
            return float(client.infer(picky, index(number), client_timeout=20).as_numpy("y")[0, 0])
        except InferenceServerException as error:
            return str(error.message())

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, [0, 1, 2, 99, 3, 2, 1, 0]))
    assert [answer for answer in answers if not isinstance(answer, str)] == [0, 10, 20, 30, 20, 10, 0]
    assert isinstance(answers[3], str)
    assert "onnx runtime error" in answers[3]
    assert 0 < executions(client, picky) < 8, "they were batched, or this test shows nothing"


def test_a_wrong_request_is_named_and_the_model_goes_on(client: InferenceServerClient, picky: str) -> None:
    wrong = {
        "data-type": [InferInput("x", [1, 1], "FP32").set_data_from_numpy(np.zeros((1, 1), np.float32))],
        "shape": [InferInput("x", [1, 2], "INT64").set_data_from_numpy(np.zeros((1, 2), np.int64))],
        "batch-size": [InferInput("x", [9, 1], "INT64").set_data_from_numpy(np.zeros((9, 1), np.int64))],
        "'nope'": [InferInput("nope", [1, 1], "INT64").set_data_from_numpy(np.zeros((1, 1), np.int64))],
    }
    for named, inputs in wrong.items():
        with pytest.raises(InferenceServerException, match=named) as raised:
            client.infer(picky, inputs, client_timeout=20)
        assert raised.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert client.infer(picky, index(1)).as_numpy("y")[0, 0] == 10


def test_text_that_would_be_changed_is_the_callers_mistake(client: InferenceServerClient, triton, tmp_path) -> None:
    folder = publish(
        tmp_path / "text",
        [helper.make_node("Identity", ["s"], ["t"])],
        [value("s", TensorProto.STRING, "N", 1)],
        [value("t", TensorProto.STRING, "N", 1)],
        "max_batch_size: 8",
    )
    name = triton.add(folder)
    for raw, named in ((b"\xff\xfe", "not UTF-8"), (b"a\0b", "NUL")):
        text = np.array([[raw]], np.object_)
        with pytest.raises(InferenceServerException, match=named) as raised:
            client.infer(name, [InferInput("s", [1, 1], "BYTES").set_data_from_numpy(text)], client_timeout=20)
        assert raised.value.status() == "StatusCode.INVALID_ARGUMENT"
    triton.drop(name)


def test_a_decoupled_model_answers_on_a_stream(client: InferenceServerClient, triton, tmp_path) -> None:
    folder = publish(
        tmp_path / "stream",
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", TensorProto.INT64, "N", 1)],
        [value("y", TensorProto.INT64, "N", 1)],
        "max_batch_size: 8 model_transaction_policy { decoupled: true }",
    )
    name = triton.add(folder)
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    client.async_stream_infer(name, index(7))
    result, error = answers.get(timeout=20)
    client.stop_stream()
    assert error is None
    assert result.as_numpy("y").tolist() == [[7]]
    triton.drop(name)


def test_scalars_keep_the_shape_that_is_written(client: InferenceServerClient, triton, tmp_path) -> None:
    folder = publish(
        tmp_path / "scalar",
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", TensorProto.INT64)],
        [value("y", TensorProto.INT64)],
        "max_batch_size: 0",
    )
    name = triton.add(folder)
    given = InferInput("x", [1], "INT64").set_data_from_numpy(np.array([5], np.int64))
    assert client.infer(name, [given], client_timeout=20).as_numpy("y").tolist() == [5]
    triton.drop(name)


def test_a_refused_model_leaves_the_server_and_the_others_alone(client: InferenceServerClient, picky, triton) -> None:
    folder = triton.repository / "refused"
    publish(
        folder,
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", TensorProto.INT64, "N", 1)],
        [value("y", TensorProto.INT64, "N", 1)],
        'max_batch_size: 8 batch_input { kind: BATCH_ELEMENT_COUNT target_name: "b" data_type: TYPE_FP32 '
        'source_input: "x" }',
    )
    for _ in range(5):
        with pytest.raises(LoadFailed, match=r"stand-in .* does not support 'batch_input'"):
            triton.control.load("refused")
    assert client.infer(picky, index(1)).as_numpy("y")[0, 0] == 10
