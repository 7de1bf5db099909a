"""What config.pbtxt says to instances on a GPU; those on a CPU read none of it, and one repository serves both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from python_backend.onnxruntime.padding import padded_sizes

from ..profiles import cuda_options
from ..spec.serving import GpuSpec

__all__ = ["Traits", "fill_original", "fill_twin", "padded"]

# How the backend writes what ONNX Runtime has names for.
_WRITTEN = {"HEURISTIC": "1", "kSameAsRequested": "1"}
# Operators that CUDA plans anew for each shape of their input.
_PLANNED = ("Conv", "ConvTranspose")


@dataclass(frozen=True)
class Traits:
    """What matters of a twin to a GPU: the precision in which it was proved, its operators, and a hash of its files.

    Engines are kept by `content`, and not at all without one.
    """

    precision: str = "fp32"
    operators: tuple[str, ...] = ()
    content: str = ""

    @classmethod
    def of(cls, precision: str, graph: Mapping[str, Any], content: str = "") -> Traits:
        """Those of a twin whose `graph` is described by plain data, as evidence has it."""
        return cls(precision, tuple(graph["operators"]), content)


def padded(operators: Mapping[str, Any] | tuple[str, ...], max_batch_size: int) -> tuple[int, ...]:
    """The batch sizes that calls are filled up to on CUDA; none where that gains nothing."""
    return padded_sizes(max_batch_size) if max_batch_size > 1 and any(name in operators for name in _PLANNED) else ()


def fill_twin(config: Any, gpu: GpuSpec, traits: Traits) -> None:
    """What the stand-in and Triton's own backend read on a GPU, into the twin's ModelConfig."""
    # CUDA is what the backend takes by itself, and where it takes what TensorRT leaves.
    for key, value in cuda_options(gpu, traits.precision, traits.operators).items():
        config.parameters[key].string_value = _WRITTEN.get(value, value)
    if sizes := padded(traits.operators, config.max_batch_size):
        config.parameters["padded_rows"].string_value = ",".join(map(str, sizes))
    # The keys are those that the C++ backend's src/onnxruntime.cc reads.
    if gpu.accelerator != "tensorrt":
        return
    accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="tensorrt")
    accelerator.parameters["precision_mode"] = gpu.precision.upper()
    accelerator.parameters["max_workspace_size_bytes"] = str(gpu.workspace_bytes)
    if gpu.engine_cache and traits.content:
        accelerator.parameters["trt_engine_cache_enable"] = "1"
        accelerator.parameters["trt_engine_cache_path"] = gpu.engine_cache
        # By itself ONNX Runtime names an engine after the names in the graph (TRTGenerateId), not after its weights:
        # the next release would be served by the engine of the last one.
        accelerator.parameters["trt_engine_cache_prefix"] = f"{config.name}-{traits.content[:16]}"


def fill_original(config: Any, traits: Traits) -> None:
    """The original computes as exactly as the twin was held to it: by itself its framework would round."""
    config.parameters["tf32"].string_value = str(traits.precision != "fp32").lower()
