"""Is there a GPU of NVIDIA's, and can the packages that serve on the embedded Triton use it?"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

__all__ = ["onnxruntime_knows_it", "present"]

_DEVICE = Path("/dev/nvidiactl")
# The build of ONNX Runtime that has CUDA; the plain one refuses to load a twin on a GPU.
_PACKAGE = "onnxruntime-gpu"


def present(device: Path = _DEVICE) -> bool:
    """Whether the driver of a GPU is loaded, and its device is within this container."""
    return device.exists()


def onnxruntime_knows_it() -> bool:
    """Whether this Python's ONNX Runtime is the build for CUDA."""
    try:
        importlib.metadata.version(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
