"""Find the libraries of CUDA that pip has installed: they lie where no loader looks for them."""

from __future__ import annotations

import functools

__all__ = ["load_libraries"]


@functools.cache
def load_libraries() -> None:
    """Load them into this process, once. ONNX Runtime prints what it misses."""
    import onnxruntime

    onnxruntime.preload_dlls(msvc=False)
