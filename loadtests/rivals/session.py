"""One ONNX file as the rivals run it: several calls at a time, the cores shared out among them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

CORES = len(os.sched_getaffinity(0))


def calls_for(users: int) -> int:
    """How many calls at a time answer most requests of so many users: one for each core, if they are that many.

    Measured on EfficientNet-Lite0, where two calls of one thread answer more than one call of two. A server cannot know
    its users beforehand; the rivals may, so that they are met at their strongest.
    """
    return min(users, CORES)


def open_session(path: Path, calls: int) -> Any:
    """An onnxruntime.InferenceSession for so many calls at a time. Raises what ONNX Runtime raises."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, CORES // calls)
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
