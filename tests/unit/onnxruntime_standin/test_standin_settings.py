"""Session settings, providers and threads out of a configuration."""

from typing import Any

import pytest

from python_backend.onnxruntime.errors import SettingRefused
from python_backend.onnxruntime.settings import CPU, SHRINKAGE, Provider, Settings, read_providers, read_settings
from python_backend.onnxruntime.threads import default_threads


def config(level: int | None = None, accelerators: Any = None, **parameters: str) -> dict[str, Any]:
    optimization: dict[str, Any] = {"execution_accelerators": accelerators or {}}
    if level is not None:
        optimization["graph"] = {"level": level}
    return {
        "name": "net",
        "optimization": optimization,
        "parameters": {key: {"string_value": value} for key, value in parameters.items()},
    }


def test_nothing_written_is_onnx_runtimes_default() -> None:
    assert read_settings({"name": "net"}) == Settings()
    assert read_settings(config(frobnicate="7")) == Settings(), "an unknown parameter is ignored"


@pytest.mark.parametrize(
    ("level", "name"), [(None, "all"), (-1, "basic"), (1, "extended"), (2, "disabled"), (0, "all")]
)
def test_graph_level(level: int | None, name: str) -> None:
    assert read_settings(config(level)).graph_level == name


def test_every_parameter_is_read() -> None:
    made = read_settings(
        {
            **config(
                intra_op_thread_count="3",
                inter_op_thread_count="2",
                execution_mode="1",
                enable_mem_arena="ON",
                enable_mem_pattern="false",
                split_rows="1",
                padded_rows="1,2,8",
            ),
            "model_operations": {"op_library_filename": ["/ops.so"]},
        }
    )
    assert made == Settings("all", True, 3, 2, True, False, True, (1, 2, 8), {}, ("/ops.so",))
    shrinking = config()
    shrinking["parameters"][SHRINKAGE] = {"string_value": "cpu:0"}
    assert read_settings(shrinking).run_entries == {SHRINKAGE: "cpu:0"}


@pytest.mark.parametrize(("text", "count"), [(" 4", 4), ("4 threads", 4), ("+2", 2), ("-3", 0), ("1.9", 1)])
def test_integers_read_as_in_the_cpp_backend(text: str, count: int) -> None:
    assert read_settings(config(intra_op_thread_count=text)).intra_op_threads == count


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"intra_op_thread_count": "abc"}, "failed to convert 'abc' to integral number"),
        ({"inter_op_thread_count": ""}, "failed to convert '' to integral number"),
        ({"enable_mem_arena": "maybe"}, "failed to convert 'maybe' to boolean"),
        ({"execution_mode": "2"}, "execution_mode are 0 or 1 but got 2"),
        ({"padded_rows": "2,1"}, "'padded_rows' is '2,1', expected batch sizes in ascending order"),
        ({"padded_rows": "1,1"}, "'padded_rows' is '1,1', expected"),
        ({"padded_rows": "0,2"}, "'padded_rows' is '0,2', expected"),
        ({"padded_rows": "1;2"}, "'padded_rows' is '1;2', expected"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(parameters: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingRefused, match=sentence):
        read_settings(config(**parameters))


def test_a_cpu_instance_ignores_the_accelerators_of_a_gpu() -> None:
    gpu = {"gpu_execution_accelerator": [{"name": "tensorrt"}]}
    assert read_providers(config(accelerators=gpu), "CPU", 0) == [CPU]
    assert read_providers(config(accelerators=gpu), "MODEL", 0) == [CPU]


@pytest.mark.parametrize("kind", ["CPU", "GPU"])
def test_an_unknown_accelerator_is_refused(kind: str) -> None:
    key = f"{kind.lower()}_execution_accelerator"
    with pytest.raises(SettingRefused, match="unknown Execution Accelerator 'openvino' is requested"):
        read_providers(config(accelerators={key: [{"name": "openvino"}]}), kind, 0)


def test_a_gpu_instance_gets_cuda_on_its_device_with_the_cpp_backends_defaults() -> None:
    cuda, cpu = read_providers(config(gpu_mem_limit="1000", cudnn_conv_algo_search="1"), "GPU", 3)
    assert cpu == CPU
    assert cuda == Provider(
        "CUDAExecutionProvider",
        {
            "cudnn_conv_algo_search": "HEURISTIC",
            "arena_extend_strategy": "kNextPowerOfTwo",
            "do_copy_in_default_stream": "1",
            "gpu_mem_limit": "1000",
            "device_id": "3",
        },
    )
    with pytest.raises(SettingRefused, match="unsupported cudnn_conv_algo_search value '3'"):
        read_providers(config(cudnn_conv_algo_search="3"), "GPU", 0)


@pytest.mark.parametrize("key", ["use_tf32", "enable_cuda_graph"])
@pytest.mark.parametrize(("written", "option"), [("0", "0"), ("1", "1"), ("false", "0"), ("on", "1")])
def test_cuda_rounds_products_and_makes_graphs_or_not_as_parameters_say(key: str, written: str, option: str) -> None:
    assert read_providers(config(**{key: written}), "GPU", 0)[0].options[key] == option
    with pytest.raises(SettingRefused, match="failed to convert 'maybe' to boolean"):
        read_providers(config(**{key: "maybe"}), "GPU", 0)


def tensorrt(**parameters: str) -> dict[str, Any]:
    return config(accelerators={"gpu_execution_accelerator": [{"name": "tensorrt", "parameters": parameters}]})


def test_tensorrt_comes_before_cuda_under_onnx_runtimes_names() -> None:
    made = tensorrt(precision_mode="FP16", max_workspace_size_bytes="9", trt_engine_cache_enable="1")
    providers = read_providers(made, "GPU", 1)
    assert [provider.name for provider in providers] == [
        "TensorrtExecutionProvider",
        "CUDAExecutionProvider",
        "CPUExecutionProvider",
    ]
    assert providers[0].options == {
        "device_id": "1",
        "trt_fp16_enable": "1",
        "trt_max_workspace_size": "9",
        "trt_engine_cache_enable": "1",
    }
    with pytest.raises(SettingRefused, match="unsupported precision mode 'FP4'"):
        read_providers(tensorrt(precision_mode="FP4"), "GPU", 0)
    with pytest.raises(SettingRefused, match="unknown parameter 'frobnicate'"):
        read_providers(tensorrt(frobnicate="1"), "GPU", 0)


@pytest.mark.parametrize(
    ("groups", "cores", "threads"),
    [
        ([], 4, 4),
        ([{"kind": "KIND_CPU", "count": 2}], 4, 2),
        ([{"kind": "KIND_CPU", "count": 2}], 2, 1),
        ([{"kind": "KIND_CPU", "count": 3}, {"kind": "KIND_MODEL", "count": 1}], 8, 2),
        ([{"kind": "KIND_GPU", "count": 4}, {"kind": "KIND_CPU", "count": 1}], 8, 8),
        ([{"kind": "KIND_CPU", "count": 9}], 2, 1),
    ],
)
def test_instances_times_threads_stay_within_the_cores(groups: list[dict[str, Any]], cores: int, threads: int) -> None:
    assert default_threads({"instance_group": groups}, cores) == threads
