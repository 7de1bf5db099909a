"""What both TensorFlow formats share: threads, devices, and a concrete function as a model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle import Tensor
from .errors import RankUnknown, run_failures
from .loading import Arrays, Device


def prepare(device: Device) -> Any:
    """Import TensorFlow with `device.threads` threads and the chosen GPU alone, and give the module."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    chosen = [] if device.gpu is None else gpus[device.gpu : device.gpu + 1]
    # TensorFlow takes both settings only before its first operation; a second model in the process keeps the first's.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(device.threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.set_visible_devices(chosen, "GPU")
        for gpu in chosen:
            tf.config.experimental.set_memory_growth(gpu, True)
    if not device.tf32:
        tf.config.experimental.enable_tensor_float_32_execution(False)
    return tf


class TensorFlowModel:
    """A compiled function: takes tensors by position in the order of `inputs`, gives a list in that of `outputs`."""

    def __init__(
        self, tf: Any, native: Any, call: Callable[..., Any], inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
    ) -> None:
        self._tf = tf
        self.native = native
        self.call = call
        self.inputs = inputs
        self.outputs = outputs

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """See OriginalModel.run."""
        tf = self._tf
        with run_failures():
            values = self.call(*[tf.constant(arrays[tensor.name]) for tensor in self.inputs])
            return {tensor.name: np.asarray(value.numpy()) for tensor, value in zip(self.outputs, values, strict=True)}


def tensor(name: str, spec: Any) -> Tensor:
    """The facts of a `tf.TensorSpec` or KerasTensor. An output's shape is empty where it is only known once it runs."""
    dtype = getattr(spec.dtype, "name", spec.dtype)
    shape = () if _any_rank(spec) else tuple(None if size is None else int(size) for size in spec.shape)
    return Tensor(name, str(dtype), shape)


def input_tensor(name: str, spec: Any) -> Tensor:
    """The same for an input. Raises RankUnknown."""
    if _any_rank(spec):
        raise RankUnknown(name)
    return tensor(name, spec)


def _any_rank(spec: Any) -> bool:
    # The shape of a KerasTensor is a tuple.
    return getattr(spec.shape, "rank", 0) is None
