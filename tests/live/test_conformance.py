"""The stand-in against the answers of Triton's C++ ONNX Runtime backend, case by case; see tests/conformance."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput, model_config_pb2
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from serving import ModelControl, TritonServer

CASES = Path(__file__).parent.parent / "conformance"
EXPECTED: dict[str, dict[str, Any]] = json.loads((CASES / "expected.json").read_text())
NAMES = sorted({key.partition(":")[0] for key in EXPECTED})

# The sentences whose words differ: what the C++ backend says, and what says the same here.
SAME_MEANING = {
    "a08_auto_seqtype": "Unsupported ONNX Type 'ONNX_TYPE_SEQUENCE' for I/O 'y', expected 'ONNX_TYPE_TENSOR'.",
    "d04_corrupt": "d04_corrupt/1/model.onnx failed:Protobuf parsing failed.",
    "d07_nomodel": "failed to stat file",
    "b16_arena0_shrink": "Did not find an arena based allocator registered for device-id combination in the memory "
    "arena shrink list: cpu:0",
}
# Features that only the C++ backend has, by the field that the refusal names. None of the cases needs one now.
REFUSED: dict[str, str] = {}


@pytest.fixture(scope="module")
def conformance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("conformance") / "repository"
    shutil.copytree(CASES / "repository", repository)
    with TritonServer(repository, load=NAMES, strict=False, shm_region_mib=1) as server:
        yield server


@pytest.fixture(scope="module")
def control(conformance: TritonServer) -> Iterator[ModelControl]:
    with conformance.control() as control:
        yield control


@pytest.fixture(scope="module")
def client(conformance: TritonServer) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(conformance.grpc_url) as client:
        yield client


def test_there_are_46_cases() -> None:
    assert len(EXPECTED) == 46
    assert sorted(path.name for path in (CASES / "repository").iterdir()) == NAMES


@pytest.mark.parametrize("key", sorted(EXPECTED))
def test_case_agrees_with_the_cpp_backend(
    key: str, conformance: TritonServer, control: ModelControl, client: InferenceServerClient
) -> None:
    name, _, version = key.partition(":")
    expected = EXPECTED[key]
    if name in REFUSED:
        assert REFUSED[name] in conformance.failures[name]
        return
    if not expected["loads"]:
        assert name in conformance.failures, "the C++ backend refuses it"
        assert reason_of(name, expected["reason"]) in conformance.failures[name]
        return
    assert name not in conformance.failures, conformance.failures[name]
    assert control.ready(name, int(version) if version else None)
    if "config" in expected:
        config = control.config(name)
        assert completed_fields(config) == expected["config"]
        check_inference(client, config, expected["infer"], name)


def reason_of(name: str, reason: str) -> str:
    """The C++ backend's sentence without its status, where the stand-in is held to the very words."""
    return SAME_MEANING.get(name) or re.sub(r"^[A-Z][a-z ]+: ", "", reason)


def completed_fields(config: Any) -> dict[str, Any]:
    return {
        "max_batch_size": config.max_batch_size,
        "input": [described(tensor) for tensor in config.input],
        "output": [described(tensor) for tensor in config.output],
        "instance_count": sum(group.count for group in config.instance_group),
        "dynamic_batching": config.HasField("dynamic_batching"),
    }


def described(tensor: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": tensor.name,
        "data_type": model_config_pb2.DataType.Name(tensor.data_type),
        "dims": list(tensor.dims),
    }
    if tensor.HasField("reshape"):
        fields["reshape"] = {"shape": list(tensor.reshape.shape)}
    return fields


def drawn_inputs(config: Any) -> list[InferInput]:
    """The inputs as tests/conformance/README.md draws them."""
    rng = np.random.default_rng(0)
    batch = [] if config.max_batch_size == 0 else [1 if config.HasField("sequence_batching") else 2]
    inputs = []
    for tensor in config.input:
        if tensor.optional:
            continue
        shape = batch + [3 if size < 0 else size for size in tensor.dims]
        wire = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_").replace("STRING", "BYTES")
        if wire == "BYTES":
            count = int(np.prod(shape))
            data = np.array([str(number).encode() for number in range(count)], dtype=object).reshape(shape)
        else:
            data = np.abs(rng.standard_normal(shape) * 3).astype(triton_to_np_dtype(wire))
        inputs.append(InferInput(tensor.name, shape, wire).set_data_from_numpy(data))
    return inputs


def check_inference(client: InferenceServerClient, config: Any, expected: dict[str, Any], name: str) -> None:
    inputs = drawn_inputs(config)
    if "error" in expected:
        with pytest.raises(InferenceServerException) as raised:
            client.infer(name, inputs, client_timeout=30)
        status, _, sentence = expected["error"].partition("] ")
        assert raised.value.status() == status.removeprefix("[")
        assert SAME_MEANING.get(name, sentence) in raised.value.message()
        return
    if "sequence" in expected:
        steps = [
            client.infer(name, inputs, sequence_id=7, sequence_start=step == 0, sequence_end=step == 2)
            for step in range(3)
        ]
        outputs = [tensor.name for tensor in config.output]
        np.testing.assert_array_equal(
            [step.as_numpy(outputs[0])[0] for step in steps], np.float32(expected["sequence"])[:, 0]
        )
        return
    result = client.infer(
        name, inputs, outputs=[InferRequestedOutput(output) for output in expected], client_timeout=30
    )
    for output, wanted in expected.items():
        array = result.as_numpy(output)
        assert array.dtype == np.dtype(wanted["dtype"])
        assert list(array.shape) == wanted["shape"]
        assert np.array2string(array.ravel()[:4]) == wanted["first"]
