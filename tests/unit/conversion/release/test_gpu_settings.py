"""What [serving.gpu] makes of config.pbtxt, read back as a server would, and of the providers of `bench`."""

from dataclasses import replace

import onnx
import pytest
from google.protobuf import json_format

from conversion.graphs.cuda_graphs import CAPTURABLE, capturable
from conversion.interface import Facts
from conversion.preflight.config_rules import config_refusals, twin_refusals
from conversion.profiles import CPU, CUDA, ON_CPU, TENSORRT, profile_for
from conversion.release.gpu_config import Traits, padded
from conversion.release.pbtxt import model_configs
from conversion.spec.serving import GpuSpec, ServingSpec
from conversion.targets import TARGETS
from python_backend.onnxruntime.settings import CPU as CPU_ALONE
from python_backend.onnxruntime.settings import read_providers

X, Y = Facts("x", "float32", ("batch", 4)), Facts("y", "float32", ("batch", 4))
FP16 = GpuSpec("tensorrt", "fp16", 1 << 31, "/engines")
HASH = "0123456789abcdef" * 4
KEPT = Traits(content=HASH)


def configs_of(spec, gpu, **more):
    return model_configs(replace(spec, serving=ServingSpec(gpu=gpu)), [X], [Y], **more)


def served(config, kind):
    """The providers of an instance of that kind, out of the configuration as Triton hands it on."""
    plain = json_format.MessageToDict(config, preserving_proto_field_name=True)
    return read_providers(plain, kind, 0)


def test_cuda_is_the_backends_own_choice_and_leaves_the_configurations_as_they_are(spec):
    configs = configs_of(spec, GpuSpec(), traits=KEPT)
    assert configs == model_configs(spec, [X], [Y])
    assert not any(config.HasField("optimization") for config in configs.values())
    assert [provider.name for provider in served(configs["onnx"], "GPU")] == [CUDA, CPU]


def test_a_gpu_takes_tensorrt_then_cuda_and_a_cpu_reads_none_of_it(spec):
    twin = configs_of(spec, FP16, traits=KEPT)["onnx"]
    first, *rest = served(twin, "GPU")
    assert first.name == TENSORRT
    assert first.options == {
        "device_id": "0",
        "trt_fp16_enable": "1",
        "trt_max_workspace_size": str(1 << 31),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": "/engines",
        "trt_engine_cache_prefix": "net_onnx-0123456789abcdef",
    }
    assert [provider.name for provider in rest] == [CUDA, CPU]
    assert served(twin, "CPU") == [CPU_ALONE]


def test_tensorrt_in_fp32_is_not_asked_for_fp16(spec):
    first = served(configs_of(spec, GpuSpec("tensorrt"))["onnx"], "GPU")[0]
    assert first.options == {"device_id": "0", "trt_max_workspace_size": str(1 << 30)}


def test_the_original_and_the_hybrid_are_as_without(spec):
    configs, plain = configs_of(spec, FP16, traits=KEPT), model_configs(spec, [X], [Y])
    assert all(configs[role] == plain[role] for role in ("original", "hybrid"))


def test_engines_are_kept_by_the_content_of_the_twin_or_not_at_all(spec):
    def cache(content):
        options = served(configs_of(spec, FP16, traits=Traits(content=content))["onnx"], "GPU")[0].options
        return {key: value for key, value in options.items() if "cache" in key}

    assert cache("") == {}
    assert cache("a" * 64) != cache("b" * 64), "another release would be served by this one's engine"


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_target_that_offers_the_accelerator_serves_it_and_one_without_is_refused(spec, target):
    configs = configs_of(spec, FP16, traits=KEPT)
    without = replace(target, gpu_accelerators=("cuda",))
    refused = [
        "net_onnx: unknown Execution Accelerator 'tensorrt' is requested in gpu_execution_accelerator; "
        f"{target} offers cuda"
    ]
    assert config_refusals("net", configs, target) == ([] if "tensorrt" in target.gpu_accelerators else refused)
    assert config_refusals("net", configs, without) == refused


def test_no_parameter_is_one_that_the_backend_does_not_know(spec):
    node = {"type": "tensor(float)", "shape": ["batch", 4]}
    graph = {"inputs": [node | {"name": "x"}], "outputs": [node | {"name": "y"}], "overridable": []}
    assert twin_refusals(configs_of(spec, FP16, traits=KEPT)["onnx"], graph) == []


@pytest.mark.parametrize("gpu", [GpuSpec(), GpuSpec("tensorrt"), FP16])
def test_bench_runs_the_twin_on_what_a_gpu_instance_takes(spec, gpu):
    profile = profile_for("gpu", gpu)
    providers = served(configs_of(spec, gpu)["onnx"], "GPU")
    assert profile.gpu == 0
    assert [name for name, _ in profile.providers] == [provider.name for provider in providers]
    cuda = next(options for name, options in profile.providers if name == CUDA)
    own = next(provider.options for provider in providers if provider.name == CUDA)
    assert cuda.items() <= own.items(), "it is measured as it is served"
    if gpu.accelerator == "tensorrt":
        assert profile.providers[0][1] == providers[0].options, "an engine is built as the server builds it"


def test_the_cpu_profile_is_the_cpu_whatever_the_spec_says():
    assert profile_for("cpu", FP16) == ON_CPU


@pytest.mark.parametrize(("precision", "rounds"), [("fp32", False), ("tf32", True), ("fp16", True), ("int8", True)])
def test_both_twins_compute_as_exactly_as_the_release_was_held_to(spec, precision, rounds):
    configs = configs_of(spec, GpuSpec(), traits=Traits(precision))
    assert served(configs["onnx"], "GPU")[0].options["use_tf32"] == str(int(rounds))
    assert configs["original"].parameters["tf32"].string_value == str(rounds).lower()


@pytest.mark.parametrize(
    ("graphs", "operators", "option"),
    [
        (True, ("Conv", "Relu"), "1"),
        (False, ("Conv", "Relu"), "0"),
        (True, ("Conv", "NonZero"), "0"),
        (True, ("Conv", "If"), "0"),
        (True, ("Conv", "RandomNormal"), "0"),
        (True, ("Conv", "MyOwn"), "0"),
    ],
)
def test_kernels_are_launched_at_once_where_nothing_looks_at_values_on_the_host(spec, graphs, operators, option):
    gpu = GpuSpec(cuda_graphs=graphs)
    twin = configs_of(spec, gpu, traits=Traits(operators=operators))["onnx"]
    assert served(twin, "GPU")[0].options["enable_cuda_graph"] == option
    assert profile_for("gpu", gpu, operators=operators).providers[0][1]["enable_cuda_graph"] == option


def test_operators_that_may_be_captured_are_onnxs_own():
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert known >= CAPTURABLE
    assert capturable(["Conv"])
    assert not CAPTURABLE & {"NonZero", "Compress", "Unique", "NonMaxSuppression", "If", "Loop", "Scan", "Multinomial"}


def test_batches_of_convolutions_are_filled_up_to_few_sizes(spec):
    def sizes(operators, **serving):
        more = replace(spec, serving=ServingSpec(**serving))
        twin = model_configs(more, [X], [Y], traits=Traits(operators=operators))["onnx"]
        return twin.parameters["padded_rows"].string_value if "padded_rows" in twin.parameters else None

    assert sizes(("Add", "Conv"), max_batch_size=6) == "1,2,3,4,6"
    assert sizes(("ConvTranspose",), max_batch_size=2) == "1,2"
    assert sizes(("MatMul",), max_batch_size=6) is None
    assert sizes(("Conv",), max_batch_size=1) is None
    assert padded({"Conv": 3}, 0) == ()
