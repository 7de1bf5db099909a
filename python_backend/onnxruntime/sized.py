"""A session for each batch size on a GPU, run as a CUDA graph where one can be made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .cuda_graph import CudaGraph
from .device_copy import DeviceCopy
from .padding import Filler
from .runner import Array, Run

__all__ = ["SizedSessions"]


class SizedSessions:
    """What PaddedRows opens its runs with.

    `open_session` gives a session, with graphs enabled or without; `run_of` a session's run. With `graphs` each size is
    run as a graph; `refused` has the sizes that are not, with the reason. Sizes take turns: they share memory of the
    host.
    """

    def __init__(
        self,
        open_session: Callable[[bool], Any],
        run_of: Callable[[Any], Run],
        *,
        device_id: int = 0,
        graphs: bool = False,
    ) -> None:
        self.refused: dict[int, str] = {}
        self._open_session = open_session
        self._run_of = run_of
        self._device_id = device_id
        self._graphs = graphs
        self._fill = Filler()
        self._copy: DeviceCopy | None = None

    def open(self, size: int) -> Run:
        """A run for up to `size` rows, whose outputs have `size` of them. Its first call makes the session ready."""
        return _Sized(self, size)

    def captured(self, size: int, feeds: Mapping[str, Array]) -> CudaGraph | None:
        """The graph of a size, for inputs of the other dimensions of `feeds`. None where it is refused, or unwanted."""
        if not self._graphs:
            return None
        try:
            self._copy = self._copy or DeviceCopy()
            device = ("cuda", self._device_id)
            return CudaGraph(self._open_session(True), self._fill(feeds, size), device, self._copy.copy)
        # Whatever a session with graphs fails for, by ONNX Runtime's many classes: one without them may run.
        except Exception as error:  # noqa: BLE001
            self.refused[size] = (str(error) or type(error).__name__).splitlines()[0]
            return None

    def plain(self, size: int) -> Run:
        """A run without a graph, on a session of its own."""
        run = self._run_of(self._open_session(False))
        return lambda names, feeds: run(names, self._fill(feeds, size))


class _Sized:
    """The run of one size: by its graph what fits, by a session without graphs all else."""

    def __init__(self, sessions: SizedSessions, size: int) -> None:
        self._sessions = sessions
        self._size = size
        self._met = False
        self._graph: CudaGraph | None = None
        self._plain: Run | None = None

    def __call__(self, names: list[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
        if not self._met:
            self._met, self._graph = True, self._sessions.captured(self._size, feeds)
        if self._graph is not None and self._graph.fits(feeds):
            return self._graph(names, feeds)
        if self._plain is None:
            self._plain = self._sessions.plain(self._size)
        return self._plain(names, feeds)
