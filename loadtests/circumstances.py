"""Under what circumstances figures were taken: the machine, and how the server was configured."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from python_backend.limits import available_cores


def machine(proc: Path = Path("/proc")) -> dict[str, Any]:
    """The machine's processor, its cores and those that may be used, its kernel, and this Python."""
    lines = (proc / "cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": available_cores(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def models_of(release: str) -> tuple[str, str, str]:
    """The three models of a release as a server loads them: the ONNX twin, the original, and the hybrid before them."""
    return f"{release}_onnx", f"{release}_original", release


def asked_first(config: Any) -> str:
    """The twin that a hybrid asks first for one row, "onnx" or "original", by its ModelConfig message.

    Its parameter `prefer` is a twin, or ranges of rows from 1 on: "1:original,9:onnx".
    """
    prefer = config.parameters["prefer"].string_value if "prefer" in config.parameters else "onnx"
    return str(prefer.partition(",")[0].rpartition(":")[2].strip())


def configuration(client: Any, models: Sequence[str]) -> dict[str, Any]:
    """The server's version, and batching, instances and parameters of the models as it runs them.

    `client` is a tritonclient gRPC client.
    """
    told: dict[str, Any] = {"triton": client.get_server_metadata().version}
    for name in models:
        config = client.get_model_config(name).config
        told[name] = {
            "backend": config.backend,
            "max_batch_size": config.max_batch_size,
            "dynamic_batching": config.HasField("dynamic_batching"),
            "preferred_batch_size": list(config.dynamic_batching.preferred_batch_size),
            "instances": sum(group.count for group in config.instance_group),
            "parameters": {key: value.string_value for key, value in sorted(config.parameters.items())},
        }
    return told
