import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from understudy_client import Infer, InvalidAnswer, Tensor
from understudy_client.calls import Config, IndexEntry, Load, ReadConfig, ReadIndex, ReadMetadata, ReadStatistics
from understudy_client.messages import read_answer, verb

INFER = Infer(
    "m",
    "2",
    inputs=(
        Tensor("x", "FP32", np.ones((1, 2), np.float32)),
        Tensor("s", "BYTES", np.array([[b"a\x00"]], dtype=object)),
    ),
    outputs=("y",),
    request_id="r",
    parameters={"deadline_ms": 5},
)


@pytest.mark.parametrize("wire", [tritonclient.grpc, tritonclient.http])
def test_an_inference_call_becomes_tritonclients(wire: object) -> None:
    method, arguments = verb(INFER, wire)  # type: ignore[arg-type]
    assert method == "infer"
    assert (arguments["model_name"], arguments["model_version"], arguments["request_id"]) == ("m", "2", "r")
    assert [tensor.name() for tensor in arguments["inputs"]] == ["x", "s"]
    assert [tensor.name() for tensor in arguments["outputs"]] == ["y"]
    assert arguments["parameters"] == {"deadline_ms": 5}


def test_the_other_calls_name_their_model() -> None:
    assert verb(ReadMetadata("m", "2"), tritonclient.grpc) == (
        "get_model_metadata",
        {"model_name": "m", "model_version": "2"},
    )
    assert verb(Load("m"), tritonclient.grpc) == ("load_model", {"model_name": "m"})
    assert verb(ReadIndex(), tritonclient.grpc) == ("get_model_repository_index", {})


@pytest.mark.parametrize("shape", [["-1", "2"], [-1, 2]], ids=["grpc", "http"])
def test_metadata_read_alike_from_both_protocols(shape: list[object]) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": shape}
    payload = {"name": "m", "versions": ["1"], "platform": "python", "inputs": [tensor], "outputs": [tensor]}
    metadata = read_answer(ReadMetadata("m"), payload, "here")
    assert metadata.versions == ("1",)
    assert metadata.inputs[0].shape == (-1, 2)


@pytest.mark.parametrize(
    "payload",
    [
        {"config": {"max_batch_size": 8, "input": [{"name": "a"}, {"name": "b", "optional": True}]}},
        {"max_batch_size": 8, "input": [{"name": "a", "optional": False}, {"name": "b", "optional": True}]},
    ],
    ids=["grpc", "http"],
)
def test_the_configuration_reads_alike_from_both_protocols(payload: object) -> None:
    assert read_answer(ReadConfig("m"), payload, "here") == Config(8, frozenset({"b"}))


def test_a_configuration_without_a_batch_size_has_no_batches() -> None:
    assert read_answer(ReadConfig("m"), {"config": {"name": "m"}}, "here") == Config(0)


@pytest.mark.parametrize(
    "payload",
    [
        {"models": [{"name": "m", "version": "1", "state": "READY"}, {"name": "n"}]},
        [{"name": "m", "version": "1", "state": "READY"}, {"name": "n"}],
    ],
    ids=["grpc", "http"],
)
def test_the_index_reads_alike_from_both_protocols(payload: object) -> None:
    assert read_answer(ReadIndex(), payload, "here") == (IndexEntry("m", "1", "READY"), IndexEntry("n"))


def test_statistics_count_each_execution_once_and_take_what_is_missing_as_zero() -> None:
    batch = {
        "batch_size": "4",
        "compute_infer": {"count": "2", "ns": "600"},
        "compute_input": {"count": "2", "ns": "60"},
    }
    payload = {
        "model_stats": [
            {
                "name": "m",
                "version": "1",
                "inference_count": "8",
                "inference_stats": {
                    "success": {"count": "3", "ns": "9"},
                    "queue": {"count": "3", "ns": "30"},
                    "fail": {},
                },
                "batch_stats": [batch, {"batch_size": "1"}],
            },
            {"name": "idle", "version": "1", "inference_stats": {"success": {}}},
        ]
    }
    busy, idle = read_answer(ReadStatistics(), payload, "here")
    assert (busy.successes, busy.failures, busy.rows, busy.queue_ns) == (3, 0, 8, 30)
    assert (busy.batch_rows, busy.batch_ns) == (8, 660)
    assert (idle.successes, idle.batch_rows) == (0, 0)


@pytest.mark.parametrize(
    ("call", "payload"),
    [(ReadMetadata("m"), "<html>"), (ReadMetadata("m"), {}), (ReadIndex(), [1]), (ReadConfig("m"), None)],
)
def test_an_answer_of_another_form_is_invalid(call: ReadMetadata, payload: object) -> None:
    with pytest.raises(InvalidAnswer, match="does not read as Triton's"):
        read_answer(call, payload, "here")


def test_outputs_whose_bytes_do_not_fit_their_shape_are_an_invalid_answer() -> None:
    response = tritonclient.grpc.service_pb2.ModelInferResponse(model_name="m", model_version="1")
    response.outputs.add(name="y", datatype="FP32", shape=[2])
    response.raw_output_contents.append(b"\x00" * 4)
    with pytest.raises(InvalidAnswer, match="cannot reshape"):
        read_answer(INFER, tritonclient.grpc.InferResult(response), "here")


def test_a_grpc_answer_reads_as_arrays() -> None:
    response = tritonclient.grpc.service_pb2.ModelInferResponse(model_name="m", model_version="2")
    response.outputs.add(name="y", datatype="FP16", shape=[1, 2])
    response.raw_output_contents.append(np.array([1, 2], np.float16).tobytes())
    answer = read_answer(INFER, tritonclient.grpc.InferResult(response), "here")
    assert (answer.model, answer.version) == ("m", "2")
    assert answer.outputs["y"].tolist() == [[1, 2]]
    assert answer.outputs["y"].dtype == np.float16
