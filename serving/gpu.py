"""Is there a GPU of NVIDIA's, and can the packages that serve on the embedded Triton use it?"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["CUDA", "onnxruntime_knows_it", "present", "visible"]

_DEVICE = Path("/dev/nvidiactl")
# Both builds of ONNX Runtime install into one folder, and the later one wins: what is installed, by name or by file,
# does not tell which one is imported. -E and -P: as the server's models import it.
_ASK = ("-E", "-P", "-c", "import onnxruntime; print(*onnxruntime.get_available_providers())")
CUDA = "CUDAExecutionProvider"
_TIMEOUT_S = 60.0


def present(device: Path = _DEVICE) -> bool:
    """Whether the driver of a GPU is loaded, and its device is within this container."""
    return device.exists()


def visible(environ: Mapping[str, str], device: Path = _DEVICE) -> bool:
    """Whether it is present, and `environ` does not hide every GPU from CUDA."""
    return present(device) and environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1")


def onnxruntime_knows_it(python: str = sys.executable) -> bool:
    """Whether the ONNX Runtime that `python` imports is the build for CUDA; False where there is none.

    Asks a process of its own, for half a second: nothing is imported here.
    """
    try:
        done = subprocess.run([python, *_ASK], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and CUDA in done.stdout.split()
