"""What tritonserver is started with: its arguments and its environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from serving.locate import Installation, PythonRuntime
from serving.ports import LOOPBACK
from serving.shared_memory import MIB

# Every BLS call holds one of these per instance until it returns; Triton's 32 would cap a hybrid before its own limit.
_BLS_THREADS = 128


def server_arguments(
    installation: Installation,
    *,
    repository: Path,
    backends: Path,
    ports: Mapping[str, int],
    drain_s: int,
    regions: tuple[int, int],
    gpu: bool,
    extra: Sequence[str] = (),
) -> list[str]:
    """The command line. `extra` comes last, so that it wins over ours.

    `ports` has http, grpc and metrics; `regions` is a stub's first size and growth of shared memory in bytes.
    """
    first, growth = regions
    return [
        str(installation.binary),
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        f"--cache-directory={installation.caches}",
        "--model-control-mode=explicit",
        # A hybrid outlives its twins: the loss of one must not take the server out of a load balancer.
        "--strict-readiness=false",
        f"--exit-timeout-secs={drain_s}",
        # This release has holes that can be used from the network (CVE-2025-23319 and others).
        f"--http-address={LOOPBACK}",
        f"--grpc-address={LOOPBACK}",
        f"--metrics-address={LOOPBACK}",
        f"--http-port={ports['http']}",
        f"--grpc-port={ports['grpc']}",
        f"--metrics-port={ports['metrics']}",
        f"--allow-gpu-metrics={str(gpu).lower()}",
        f"--backend-config=python,shm-default-byte-size={first}",
        f"--backend-config=python,shm-growth-byte-size={growth}",
        f"--backend-config=python,thread-pool-size={_BLS_THREADS}",
        *extra,
    ]


def loaded_ahead(models: Sequence[str]) -> list[str]:
    """The arguments for models that are loaded before the server listens; one that does not load is left out."""
    return [*(f"--load-model={model}" for model in models), "--exit-on-error=false"] if models else []


def server_environment(
    environ: Mapping[str, str],
    installation: Installation,
    python: PythonRuntime | None,
    cores: int,
    *,
    hide_gpu: bool = False,
) -> dict[str, str]:
    """The environment of the server and its stubs, made from `environ`; a thread count that is set there stays.

    With `hide_gpu` all models go to the CPU, unless `environ` says which GPUs may be seen.

    The stub finds its packages through the first `python3` on PATH, and its interpreter through LD_LIBRARY_PATH.
    """
    made = dict(environ)
    libraries = [str(path) for path in installation.libraries]
    if python is not None:
        libraries.append(str(python.libpython.parent))
        made["PATH"] = _joined([str(python.bin_directory)], environ.get("PATH", ""))
    made["LD_LIBRARY_PATH"] = _joined(libraries, environ.get("LD_LIBRARY_PATH", ""))
    # Would point the stub's interpreter at another installation, or at modules of the caller's.
    for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP"):
        made.pop(name, None)
    # A __pycache__ written into a version directory makes the next load look like a change. Releases keep it out by
    # themselves: the stubs of 24.10 (pybind11 2.10) read no variable of Python's, those of 24.11 and later (2.12) do.
    made["PYTHONDONTWRITEBYTECODE"] = "1"
    if hide_gpu:
        made.setdefault("CUDA_VISIBLE_DEVICES", "")
    # OpenMP counts the machine's cores, not those that the container may use; waiting threads must not burn them.
    made.setdefault("OMP_NUM_THREADS", str(cores))
    made.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # A tensor of more than 128 KiB would be mapped, and its pages cleared, for each request anew.
    made.setdefault("MALLOC_MMAP_THRESHOLD_", str(32 * MIB))
    made.setdefault("MALLOC_TRIM_THRESHOLD_", str(64 * MIB))
    made.setdefault("MALLOC_TOP_PAD_", str(32 * MIB))
    return made


def _joined(first: Sequence[str], rest: str) -> str:
    return ":".join([*first, *(part for part in rest.split(":") if part)])
