"""What is told of a config.pbtxt before a Triton sees it; the twin's rules are held to the C++ backend's answers."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from conversion.graphs.graph import load_onnx
from conversion.interface import Facts
from conversion.preflight.config_rules import config_refusals, twin_refusals, written_signature
from conversion.release.pbtxt import model_configs, read_config
from conversion.spec.serving import ServingSpec
from conversion.targets import TARGETS

TARGET = TARGETS["24.10"]
X, Y = Facts("x", "float32", ("batch", 4)), Facts("y", "float32", ("batch", 4))
CASES = Path("tests/conformance")
EXPECTED = json.loads((CASES / "expected.json").read_text())
# What another server than the one of the cases decides, or what no configuration shows.
ELSEWHERE = {
    "b08_ea_cpu_openvino": "the image has OpenVINO, the build of the cases had not",
    "b11_kind_gpu": "the image may have a GPU",
    "d04_corrupt": "no graph",
    "d07_nomodel": "no graph",
}


def written(case):
    return read_config(CASES / "repository" / case / "config.pbtxt")


def signature(case):
    return written_signature(load_onnx(CASES / "repository" / case / "1" / "model.onnx"))


def whole(case):
    """Whether the case's configuration says its inputs and outputs, and its graph is where it usually is."""
    path = CASES / "repository" / case
    if not ((path / "config.pbtxt").is_file() and (path / "1" / "model.onnx").is_file()):
        return False
    config = written(case)
    return bool(config.input and config.output)


WHOLE = [case for case in sorted(EXPECTED) if ":" not in case and case not in ELSEWHERE and whole(case)]


@pytest.mark.parametrize("case", WHOLE)
def test_what_the_cpp_backend_refuses_is_told_and_what_it_loads_is_not(case):
    config = written(case)
    config.name = case
    found = twin_refusals(config, signature(case))
    if EXPECTED[case]["loads"]:
        assert found == []
    else:
        reason = EXPECTED[case]["reason"].partition(": ")[2]
        assert any(reason in sentence for sentence in found)


def test_enough_of_the_cases_speak():
    assert len(WHOLE) >= 20
    assert sum(not EXPECTED[case]["loads"] for case in WHOLE) == 7


def test_an_output_that_is_no_tensor_is_refused(configs):
    assert twin_refusals(configs["onnx"], signature("a08_auto_seqtype")) == [
        "net_onnx: Unsupported ONNX Type 'ONNX_TYPE_SEQUENCE' for I/O 'y', expected 'ONNX_TYPE_TENSOR'."
    ]


def test_a_default_is_an_input_that_need_not_be_configured():
    graph = signature("a09_auto_overridable_init")
    assert [node["name"] for node in graph["inputs"]] == ["x"]
    assert len(graph["overridable"]) == 1


@pytest.fixture
def configs(spec):
    return model_configs(spec, [X], [Y])


def test_what_is_published_is_not_refused(configs):
    assert config_refusals("net", configs, TARGET) == []


@pytest.mark.parametrize(
    ("role", "text", "sentence"),
    [
        ("onnx", 'name: "other"', "config.pbtxt of net_onnx names the model 'other', where its folder does not"),
        ("onnx", "max_batch_size: -1", "net_onnx: 'max_batch_size' must be non-negative, found -1"),
        ("original", 'input { name: "z" dims: 4 }', "net_original: input 'z' must specify 'data_type'"),
        ("original", 'input { name: "z" data_type: TYPE_FP32 }', "net_original: input 'z' must specify 'dims'"),
        ("original", "output { data_type: TYPE_FP32 dims: 4 }", "net_original: output '' must specify 'name'"),
        (
            "original",
            'output { name: "z" data_type: TYPE_FP32 dims: 0 }',
            "net_original: output 'z' has the dimensions [0]; each must be at least 1, or -1 for a variable size",
        ),
        (
            "original",
            'output { name: "z" data_type: TYPE_FP32 dims: [2, -1, 6] reshape { shape: [-1, 2, 6] } }',
            "net_original: output 'z' has different sizes for dims [2, -1, 6] and reshape [-1, 2, 6]",
        ),
        (
            "onnx",
            "dynamic_batching { preferred_batch_size: 64 }",
            "net_onnx: dynamic batching preferred size must be positive and at most max_batch_size 32, found 64",
        ),
        (
            "hybrid",
            "instance_group { kind: KIND_CPU gpus: 1 }",
            "net: an instance group has kind KIND_CPU but specifies GPUs [1]",
        ),
        (
            "onnx",
            'optimization { execution_accelerators { cpu_execution_accelerator { name: "qnn" } } }',
            "net_onnx: unknown Execution Accelerator 'qnn' is requested in cpu_execution_accelerator; "
            "Triton 24.10 (ONNX Runtime 1.19.2) offers openvino",
        ),
        (
            "onnx",
            'optimization { execution_accelerators { gpu_execution_accelerator { name: "openvino" } } }',
            "net_onnx: unknown Execution Accelerator 'openvino' is requested in gpu_execution_accelerator; "
            "Triton 24.10 (ONNX Runtime 1.19.2) offers tensorrt, cuda",
        ),
        (
            "hybrid",
            'parameters { key: "prefer" value { string_value: "best" } }',
            "net: parameter 'prefer' of the hybrid must be one of onnx, original"
            ", or ranges of rows that ascend from 1 such as '1:original,9:onnx', found 'best'; correct config.pbtxt",
        ),
        (
            "hybrid",
            'parameters { key: "primary_model" value { string_value: "other_onnx" } }',
            "net: it asks 'other_onnx' as its onnx, which is not in the release; there is 'net_onnx'",
        ),
        (
            "original",
            "max_batch_size: 8",
            "net: its max_batch_size 32 is above 8, that of net_original, which would refuse its larger calls",
        ),
    ],
)
def test_each_fault_is_named(configs, role, text, sentence):
    change = text_format.Parse(text, model_config_pb2.ModelConfig())
    # A parameter is replaced by its key; the rest is added or set.
    for key in change.parameters:
        configs[role].parameters.pop(key)
    configs[role].MergeFrom(change)
    assert sentence in config_refusals("net", configs, TARGET)


@pytest.mark.parametrize(
    "accelerators",
    [
        'cpu_execution_accelerator { name: "openvino" }',
        'gpu_execution_accelerator { name: "tensorrt" parameters { key: "precision_mode" value: "FP16" } }',
        'gpu_execution_accelerator { name: "cuda" }',
    ],
)
def test_what_the_image_offers_is_not_refused(configs, accelerators):
    text_format.Merge(f"optimization {{ execution_accelerators {{ {accelerators} }} }}", configs["onnx"])
    assert config_refusals("net", configs, TARGET) == []
    assert twin_refusals(configs["onnx"], graph_of([4], [4])) == []


def test_a_scalar_without_a_batch_is_what_triton_refuses(spec):
    single = replace(spec, serving=ServingSpec(max_batch_size=0))
    found = config_refusals(
        "net", model_configs(single, [Facts("x", "float32", (4,))], [Facts("y", "float32", ())]), TARGET
    )
    assert (
        "net_onnx: output 'y' cannot have an empty reshape where max_batch_size is 0: scalars are not supported there"
        in found
    )


def test_a_hybrid_whose_interface_is_not_its_twins_is_refused(spec, configs):
    configs["original"] = model_configs(spec, [X], [replace(Y, name="z")])["original"]
    assert config_refusals("net", configs, TARGET) == [
        "net: its outputs (y TYPE_FP32 [4]) are not those of net_original (z TYPE_FP32 [4])"
    ]


def graph_of(inputs, outputs):
    """As an ONNX Runtime would report a graph with batches."""
    return {
        "inputs": [{"name": "x", "type": "tensor(float)", "shape": ["batch", *inputs]}],
        "outputs": [{"name": "y", "type": "tensor(float)", "shape": ["batch", *outputs]}],
        "overridable": [],
    }


def test_every_difference_from_the_graph_is_told_at_once(configs):
    assert twin_refusals(configs["onnx"], graph_of([4], [4])) == []
    found = twin_refusals(configs["onnx"], graph_of([5], [4, 1]))
    assert len(found) == 2
    assert "tensor 'x': the model expects 2 dimensions (shape [-1,5])" in found[0]
    assert "tensor 'y': the model expects 3 dimensions (shape [-1,4,1])" in found[1]


def test_every_parameter_that_cannot_be_meant_is_told_at_once(configs):
    twin = configs["onnx"]
    twin.parameters["intra_op_thread_count"].string_value = "many"
    twin.parameters["cudnn_conv_algo_search"].string_value = "7"
    text_format.Merge(
        'optimization { execution_accelerators { gpu_execution_accelerator { name: "tensorrt" '
        'parameters { key: "precision_mode" value: "INT3" } } } }',
        twin,
    )
    assert sorted(twin_refusals(twin, graph_of([4], [4]))) == [
        "net_onnx: failed to convert 'many' to integral number (parameter 'intra_op_thread_count')",
        "net_onnx: unsupported cudnn_conv_algo_search value '7' is requested",
        "net_onnx: unsupported precision mode 'INT3' is requested",
    ]
