"""One ONNX file as the rivals run it: several calls at a time, the cores shared out among them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from python_backend.limits import available_cores
from serving import gpu


def calls_for(users: int) -> int:
    """How many calls at a time answer most requests of so many users: one for each core, if they are that many.

    Measured on EfficientNet-Lite0, where two calls of one thread answer more than one call of two. A server cannot know
    its users beforehand; the rivals may, so that they are met at their strongest.
    """
    return min(users, available_cores())


def threads_for(calls: int) -> int:
    """How many threads each of so many calls at a time has. At least 1."""
    return max(1, available_cores() // calls)


def open_session(path: Path, calls: int) -> Any:
    """An onnxruntime.InferenceSession for so many calls at a time, where twins are served too: on a GPU, if any.

    There it computes in full float32, as twins do that were not proved in TF32. Raises what ONNX Runtime raises.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads_for(calls)
    options.inter_op_num_threads = 1
    providers: list[Any] = ["CPUExecutionProvider"]
    on_gpu = gpu.visible(os.environ) and gpu.CUDA in onnxruntime.get_available_providers()
    if on_gpu:
        onnxruntime.preload_dlls(msvc=False)
        providers.insert(0, (gpu.CUDA, {"use_tf32": "0"}))
    session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    # ONNX Runtime would take the CPU, and say so in passing.
    if on_gpu and gpu.CUDA not in session.get_providers():
        raise RuntimeError(f"ONNX Runtime runs {path} without its {gpu.CUDA}; `make doctor` tells more")
    return session
