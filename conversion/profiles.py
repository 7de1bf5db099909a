"""Where original and twin run when they are compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .graphs.cuda_graphs import capturable
from .spec.serving import GpuSpec

__all__ = ["CPU", "CUDA", "ON_CPU", "PROFILES", "Profile", "Provider", "TENSORRT", "cuda_options", "profile_for"]

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
PROFILES = ("cpu", "gpu")

# An execution provider of ONNX Runtime, with its options.
Provider = tuple[str, dict[str, str]]


@dataclass(frozen=True)
class Profile:
    """The twin's execution providers, first choice first, and the number of the original's GPU (None: the CPU)."""

    providers: tuple[Provider, ...] = ((CPU, {}),)
    gpu: int | None = None


ON_CPU = Profile()


def cuda_options(gpu: GpuSpec, precision: str, operators: Iterable[str]) -> dict[str, str]:
    """The options of CUDA's provider for a twin of those operators that was proved in a precision.

    In "fp32" every product is one of 32 bits, as on a CPU. Otherwise they may be of TF32, which keeps 10 bits. Plans by
    heuristics are as fast as searched ones and made in half the time, and a session that meets one batch size wants no
    more memory than that takes.
    """
    return {
        "use_tf32": "0" if precision == "fp32" else "1",
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "enable_cuda_graph": str(int(gpu.cuda_graphs and capturable(operators))),
    }


def profile_for(name: str, gpu: GpuSpec, precision: str = "fp32", operators: Iterable[str] = ()) -> Profile:
    """The profile of a name out of PROFILES: "gpu" runs the twin as instances on a GPU do, by what the spec asks for.

    `precision` is the twin's, by which CUDA may round or not, and `operators` are those of its graph. Engines are built
    anew: the cache of a spec is a folder of the server.
    """
    if name == "cpu":
        return ON_CPU
    providers: list[Provider] = [(CUDA, cuda_options(gpu, precision, operators) | {"device_id": "0"}), (CPU, {})]
    if gpu.accelerator == "tensorrt":
        options = {"device_id": "0", "trt_max_workspace_size": str(gpu.workspace_bytes)}
        fp16 = {"trt_fp16_enable": "1"} if gpu.precision == "fp16" else {}
        providers.insert(0, (TENSORRT, options | fp16))
    return Profile(tuple(providers), 0)
