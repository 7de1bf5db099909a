"""Read the session's settings out of a model configuration. Unknown parameters are ignored, as in the C++ backend."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from .cuda_graph import OPTION as CUDA_GRAPH
from .errors import SettingRefused

SHRINKAGE = "memory.enable_memory_arena_shrinkage"

# optimization.graph.level of config.pbtxt; any other value, and none, is "all".
_GRAPH_LEVEL = {-1: "basic", 1: "extended", 2: "disabled"}
_BOOLEAN = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
_CONV_SEARCH = ("EXHAUSTIVE", "HEURISTIC", "DEFAULT")
_ARENA_EXTEND = ("kNextPowerOfTwo", "kSameAsRequested")


@dataclass(frozen=True)
class Settings:
    """What a session is made with. A thread count of 0 is not set; None keeps ONNX Runtime's default.

    `split_rows` runs the rows of a call side by side, a thread for each part, on a CPU; `padded_rows` are the batch
    sizes that calls are filled up to, ascending, on CUDA.
    """

    graph_level: str = "all"
    parallel: bool = False
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    cpu_memory_arena: bool | None = None
    memory_pattern: bool | None = None
    split_rows: bool = False
    padded_rows: tuple[int, ...] = ()
    run_entries: dict[str, str] = field(default_factory=dict)
    op_libraries: tuple[str, ...] = ()


@dataclass(frozen=True)
class Provider:
    """One ONNX Runtime execution provider with its options."""

    name: str
    options: dict[str, str] = field(default_factory=dict)


CPU = Provider("CPUExecutionProvider")
CUDA = "CUDAExecutionProvider"


def read_settings(config: dict[str, Any]) -> Settings:
    """The settings of `config`. Raises SettingRefused for a value that does not read as its type."""
    parameters = _parameters(config)
    graph = (config.get("optimization") or {}).get("graph") or {}
    mode = _integer(parameters, "execution_mode", 0)
    if mode not in (0, 1):
        raise SettingRefused(
            f"Invalid configuration value provided. Expected values for execution_mode are 0 or 1 but got {mode}."
        )
    return Settings(
        graph_level=_GRAPH_LEVEL.get(int(graph.get("level", 0)), "all"),
        parallel=mode == 1,
        intra_op_threads=max(0, _integer(parameters, "intra_op_thread_count", 0)),
        inter_op_threads=max(0, _integer(parameters, "inter_op_thread_count", 0)),
        cpu_memory_arena=_boolean(parameters, "enable_mem_arena"),
        memory_pattern=_boolean(parameters, "enable_mem_pattern"),
        split_rows=_boolean(parameters, "split_rows") or False,
        padded_rows=_sizes(parameters, "padded_rows"),
        run_entries={SHRINKAGE: parameters[SHRINKAGE]} if SHRINKAGE in parameters else {},
        op_libraries=tuple((config.get("model_operations") or {}).get("op_library_filename") or ()),
    )


def read_providers(config: dict[str, Any], kind: str, device_id: int) -> list[Provider]:
    """The providers for one instance, first choice first. `kind` is the instance's: "CPU", "GPU" or "MODEL".

    Raises SettingRefused for an accelerator that is not known. Those for a GPU are read on a GPU alone.
    """
    accelerators = (config.get("optimization") or {}).get("execution_accelerators") or {}
    providers = _gpu_providers(config, accelerators, device_id) if kind == "GPU" else []
    for accelerator in accelerators.get("cpu_execution_accelerator") or []:
        raise SettingRefused(f"unknown Execution Accelerator '{accelerator['name']}' is requested")
    return [*providers, CPU]


def _gpu_providers(config: dict[str, Any], accelerators: dict[str, Any], device_id: int) -> list[Provider]:
    providers = []
    cuda = _cuda_options(_parameters(config))
    for accelerator in accelerators.get("gpu_execution_accelerator") or []:
        name, options = accelerator["name"], dict(accelerator.get("parameters") or {})
        if name == "cuda":
            cuda = {**options, **cuda}
        elif name == "tensorrt":
            providers.append(Provider("TensorrtExecutionProvider", _tensorrt_options(options, device_id)))
        else:
            raise SettingRefused(f"unknown Execution Accelerator '{name}' is requested")
    return [*providers, Provider(CUDA, {**cuda, "device_id": str(device_id)})]


def _cuda_options(parameters: dict[str, str]) -> dict[str, str]:
    options = {
        "cudnn_conv_algo_search": _choice(parameters, "cudnn_conv_algo_search", _CONV_SEARCH),
        "arena_extend_strategy": _choice(parameters, "arena_extend_strategy", _ARENA_EXTEND),
        "do_copy_in_default_stream": parameters.get("do_copy_in_default_stream", "1"),
    }
    if "gpu_mem_limit" in parameters:
        options["gpu_mem_limit"] = parameters["gpu_mem_limit"]
    for key in ("use_tf32", CUDA_GRAPH):
        flag = _boolean(parameters, key)
        if flag is not None:
            options[key] = str(int(flag))
    return options


# The C++ backend's names for TensorRT, and ONNX Runtime's.
_TENSORRT_KEYS = {
    "max_workspace_size_bytes": "trt_max_workspace_size",
    "int8_calibration_table_name": "trt_int8_calibration_table_name",
    "int8_use_native_calibration_table": "trt_int8_use_native_calibration_table",
}
_PRECISION = {"FP16": {"trt_fp16_enable": "1"}, "INT8": {"trt_int8_enable": "1"}, "FP32": {}}


def _tensorrt_options(parameters: dict[str, str], device_id: int) -> dict[str, str]:
    options = {"device_id": str(device_id)}
    for key, value in parameters.items():
        if key == "precision_mode":
            if value not in _PRECISION:
                raise SettingRefused(f"unsupported precision mode '{value}' is requested")
            options.update(_PRECISION[value])
        elif key in _TENSORRT_KEYS or key.startswith("trt_"):
            options[_TENSORRT_KEYS.get(key, key)] = value
        else:
            raise SettingRefused(f"unknown parameter '{key}' is provided for TensorRT Execution Accelerator")
    return options


def _parameters(config: dict[str, Any]) -> dict[str, str]:
    return {key: str(value.get("string_value", "")) for key, value in (config.get("parameters") or {}).items()}


def _integer(parameters: dict[str, str], key: str, default: int) -> int:
    if key not in parameters:
        return default
    # What std::stoi takes: leading blanks, a sign, digits, and anything after them.
    found = re.match(r"\s*[+-]?\d+", parameters[key], re.ASCII)
    if found is None:
        raise SettingRefused(f"failed to convert '{parameters[key]}' to integral number (parameter '{key}')")
    return int(found.group())


def _boolean(parameters: dict[str, str], key: str) -> bool | None:
    if key not in parameters:
        return None
    value = _BOOLEAN.get(parameters[key].lower())
    if value is None:
        raise SettingRefused(f"failed to convert '{parameters[key]}' to boolean (parameter '{key}')")
    return value


def _sizes(parameters: dict[str, str], key: str) -> tuple[int, ...]:
    text = parameters.get(key, "")
    sizes = [int(part) if part.isdecimal() else 0 for part in text.split(",")] if text else []
    if sizes != sorted(set(sizes)) or min(sizes, default=1) < 1:
        raise SettingRefused(f"parameter '{key}' is '{text}', expected batch sizes in ascending order, such as 1,2,4")
    return tuple(sizes)


def _choice(parameters: dict[str, str], key: str, choices: tuple[str, ...]) -> str:
    value = _integer(parameters, key, 0)
    if not 0 <= value < len(choices):
        raise SettingRefused(f"unsupported {key} value '{value}' is requested")
    return choices[value]
