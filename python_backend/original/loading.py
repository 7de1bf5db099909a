"""From a bundle to a model that runs: one loader a format, each imported only when its format is met."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .bundle import Tensor, read_bundle

Arrays = Mapping[str, NDArray[Any]]

_LOADERS = {
    "keras": "keras_file",
    "saved_model": "saved_model",
    "torch_module": "torch_module",
    "torchscript": "torch_module",
    "exported_program": "torch_module",
}


@dataclass(frozen=True)
class Device:
    """Where the model runs: threads of the framework's own pool, and the GPU's number (None: the CPU).

    Without `tf32` a GPU computes in full float32 also where the framework would let it round to 10 bits.
    """

    threads: int = 1
    gpu: int | None = None
    tf32: bool = True


class OriginalModel(Protocol):
    """A loaded original. `native` is the framework's own object, for exporters."""

    native: Any
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Compute all outputs from one batch: arrays by input name, batch first. Raises RunFailed."""


def load(directory: Path, device: Device) -> OriginalModel:
    """Load the bundle in `directory`. Raises a subclass of OriginalError."""
    bundle = read_bundle(directory)
    with _uncollected():
        loader = importlib.import_module(f".{_LOADERS[bundle.format]}", __package__)
        model: OriginalModel = loader.load(bundle, directory, device)
    return model


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let the garbage collector rest: a sixth of the time that the import of TensorFlow takes.

    That makes more than 300,000 objects to keep, all of which it looks at again each time that their number has grown
    by a quarter.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def name_outputs(raw: Any, known: Sequence[Tensor]) -> dict[str, Any]:
    """Give names to what a framework returned: a tensor, a sequence or a mapping (nested ones are flattened).

    A mapping names its own values unless `known` does; unnamed ones are called output, or output_0, output_1, …
    """
    flat = list(_flatten(raw, ""))
    if known:
        names = [tensor.name for tensor in known]
        if set(names) <= {name for name, _ in flat}:
            by_name = dict(flat)
            return {name: by_name[name] for name in names}
        return dict(zip(names, (value for _, value in flat), strict=False))
    if len(flat) == 1 and (not flat[0][0] or flat[0][0].isdigit()):
        return {"output": flat[0][1]}
    return {f"output_{name}" if name[0].isdigit() else name: value for name, value in flat}


def _flatten(raw: Any, prefix: str) -> list[tuple[str, Any]]:
    if raw is None:
        return []
    if isinstance(raw, Mapping):
        items = [(str(key), value) for key, value in raw.items()]
    elif isinstance(raw, (list, tuple)):
        items = [(str(number), value) for number, value in enumerate(raw)]
    else:
        return [(prefix, raw)]
    return [pair for key, value in items for pair in _flatten(value, f"{prefix}_{key}" if prefix else key)]


def tensors_of(arrays: Arrays) -> tuple[Tensor, ...]:
    """What arrays tell of themselves, the batch taken as dynamic."""
    return tuple(
        Tensor(name, "string" if array.dtype.kind in "OSU" else array.dtype.name, (None, *array.shape[1:]))
        for name, array in ((name, np.asarray(array)) for name, array in arrays.items())
    )
