"""Run a session at one shape as a CUDA graph: its kernels are launched at once instead of one by one.

Of a small batch on a GPU much of the time is that of launching. A graph holds addresses: inputs are copied to where its
kernels look for them. ONNX Runtime makes it within the first runs of a shape, and keeps it for the thread that ran them
(PerThreadContext in its providers/cuda/cuda_execution_provider.cc).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import CaptureRefused
from .runner import Array

__all__ = ["OPTION", "CudaGraph"]

# The option of CUDA's provider with which a session makes graphs.
OPTION = "enable_cuda_graph"
# The run option that names a graph, and its value for a run that neither makes nor takes one.
_NAME, _NONE = "gpu_graph_id", "-1"
# What a graph may be off by: the same kernels compute the same values, but some sum in no fixed order.
_RTOL = _ATOL = 1e-3


class CudaGraph:
    """The graph of a session that was opened with OPTION, for the shapes of `feeds`.

    `device` is where it runs, by OrtValue's type and number; `copy` copies an array to an address there. Raises
    CaptureRefused where no graph can be made, or it would answer otherwise than its session: for what is drawn at
    random, or looked at by the host. One call at a time.
    """

    def __init__(
        self, session: Any, feeds: Mapping[str, Array], device: tuple[str, int], copy: Callable[[Array, int], None]
    ) -> None:
        self._session = session
        self._copy = copy
        self._inputs: dict[str, Any] = {}
        self._outputs: dict[str, Any] = {}
        self._specs = {name: (array.shape, array.dtype) for name, array in feeds.items()}
        try:
            # The session itself runs no more once there is a graph: what it put into memory that it took for free, the
            # graph would write over. The first call makes the graph: with the feeds at hand, for others may be refused.
            trials = [(trial, _without_graph(session, trial)) for trial in (feeds, _others(feeds))]
            self._bind(trials[0][1], feeds, device)
            for trial, answers in (*trials, trials[0]):
                self._check(trial, answers)
        # ONNX Runtime raises a class per status, which have no base of their own.
        except Exception as error:
            raise CaptureRefused(str(error) or type(error).__name__) from error

    def fits(self, feeds: Mapping[str, Array]) -> bool:
        """Whether it takes these: inputs of its own shapes, but for rows, of which there may be fewer."""
        return feeds.keys() == self._specs.keys() and all(
            array.dtype == self._specs[name][1]
            and array.shape[1:] == self._specs[name][0][1:]
            and len(array) <= self._specs[name][0][0]
            for name, array in feeds.items()
        )

    def __call__(self, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """The outputs of those names, with as many rows as the graph has: behind the caller's are those of others."""
        for name, array in feeds.items():
            self._copy(array, self._inputs[name].data_ptr())
        self._session.run_with_iobinding(self._binding)
        return [self._outputs[name].numpy() for name in names]

    def _bind(self, answers: Mapping[str, Array], feeds: Mapping[str, Array], device: tuple[str, int]) -> None:
        """Give every input and output its place on the device."""
        import onnxruntime

        def placed(array: Array) -> Any:
            return onnxruntime.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype, *device)

        self._inputs = {name: placed(array) for name, array in feeds.items()}
        self._outputs = {name: placed(array) for name, array in answers.items()}
        self._binding = self._session.io_binding()
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)

    def _check(self, feeds: Mapping[str, Array], wanted: Mapping[str, Array]) -> None:
        """Hold what the graph answers against what its session did."""
        for (name, value), got in zip(wanted.items(), self(list(wanted), feeds), strict=True):
            if not np.allclose(got, value, rtol=_RTOL, atol=_ATOL, equal_nan=True):
                raise ValueError(f"output '{name}' of the CUDA graph is not that of its session")


def _without_graph(session: Any, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """All outputs of the session itself."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry(_NAME, _NONE)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds), options), strict=True))


def _others(feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Other values for floating-point inputs. Integers and flags stay: a graph may not take any."""
    random = np.random.default_rng(0)
    return {
        name: random.standard_normal(array.shape, np.float32).astype(array.dtype) if array.dtype.kind == "f" else array
        for name, array in feeds.items()
    }
