"""Turn a TensorFlow/Keras or PyTorch model into an ONNX twin, prove that it matches, and publish both for Triton.

Importing this package loads no framework and, until a name is used, nothing else either.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conversion.converter import ONNXConverter
    from conversion.errors import ConversionError

_HOME = {"ConversionError": "errors", "ONNXConverter": "converter"}

__all__ = ["ConversionError", "ONNXConverter"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'conversion' has no attribute {name!r}")
    return getattr(import_module(f"conversion.{_HOME[name]}"), name)
