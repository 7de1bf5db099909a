"""Can samples be made of what model.toml says? Ranges of inputs, and sizes of dynamic dimensions."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..dtypes import DTYPES
from ..errors import WrongValue
from . import InputSpec, ModelSpec

__all__ = ["check_samples"]

_TELLS_NOTHING = ("torch_module", "torchscript")


def check_samples(spec: ModelSpec, path: Path) -> None:
    """Raise WrongValue for two kinds of samples at once, and for the first range or size that none can be made of."""
    if spec.samples.file and spec.samples.generator:
        raise WrongValue(path, "samples.generator", "left out where samples.file is given", spec.samples.generator)
    for number, tensor in enumerate(spec.inputs):
        if tensor.range:
            _check_range(tensor, tensor.range, path, f"inputs[{number}].range")
    # Where the artefact tells its dimensions, they have names that are not known yet.
    told = spec.source.format not in _TELLS_NOTHING
    named = {size for tensor in spec.inputs for size in tensor.shape if isinstance(size, str)}
    known = sorted(named - {"batch"} if spec.serving.max_batch_size else named)
    for name, sizes in spec.samples.dims.items():
        if not sizes or min(sizes) < 1:
            raise WrongValue(path, f"samples.dims.{name}", "a list of sizes of at least 1", list(sizes))
        if not told and name not in known:
            expected = f"named for a dynamic dimension of [[inputs]] ({', '.join(known) or 'there is none'})"
            raise WrongValue(path, f"samples.dims.{name}", expected, list(sizes))


def _check_range(tensor: InputSpec, limits: tuple[float, float], path: Path, key: str) -> None:
    low, high = limits
    if not (low < high and math.isfinite(high - low)):
        raise WrongValue(path, key, "[low, high) with low < high, both finite", list(limits))
    # What the artefact tells is not known yet; strings and bool have no range.
    if tensor.dtype not in DTYPES or tensor.dtype in ("bool", "string"):
        return
    least, most = _bounds(tensor.dtype)
    if low < least or high > most:
        expected = f"[low, high) within {least:g} to {most:g}, as {tensor.dtype} has no others"
        raise WrongValue(path, key, expected, list(limits))
    if not tensor.dtype.startswith("float") and (low % 1 or high % 1):
        raise WrongValue(path, key, f"whole numbers, as {tensor.dtype} has no others", list(limits))


def _bounds(dtype: str) -> tuple[float, float]:
    """The lowest `low` and the highest `high` of a range; whole numbers are drawn as int64."""
    if dtype.startswith("float"):
        largest = float(np.finfo(dtype).max)
        return -largest, largest
    return float(np.iinfo(dtype).min), min(float(np.iinfo(dtype).max) + 1, 2.0**63)
