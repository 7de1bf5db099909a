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
        ready: list[Run] = []

        def run(names: list[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
            if not ready:
                ready.append(self._opened(size, feeds))
            return ready[0](names, feeds)

        return run

    def _opened(self, size: int, feeds: Mapping[str, Array]) -> Run:
        if self._graphs:
            try:
                return self._captured(size, feeds)
            # Whatever a session with graphs fails for, by ONNX Runtime's many classes: one without them may run.
            except Exception as error:  # noqa: BLE001
                self.refused[size] = str(error).splitlines()[0]
        plain = self._run_of(self._open_session(False))
        return lambda names, feeds: plain(names, self._fill(feeds, size))

    def _captured(self, size: int, feeds: Mapping[str, Array]) -> Run:
        """Raises what a session is refused for, CaptureRefused, OSError."""
        self._copy = self._copy or DeviceCopy()
        graph = CudaGraph(self._open_session(True), self._fill(feeds, size), ("cuda", self._device_id), self._copy.copy)

        def run(names: list[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
            if graph.fits(feeds):
                return graph(names, feeds)
            return graph.as_session(names, self._fill(feeds, size))

        return run
