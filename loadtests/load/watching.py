"""What a server's processes take while a load runs: processor time and memory, looked at again and again."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType

from loadtests.processor import Sample, family, sample

_EVERY_S = 1.0


class Watching:
    """Looks until the context ends. Without a pid there is nothing to see: the server is somewhere else."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._first: Sample | None = None
        self._last: Sample | None = None
        self._started = self._ended = 0.0
        # Seconds since the epoch, megabytes.
        self.memory: list[tuple[float, float]] = []

    def __enter__(self) -> Watching:
        self._started = time.monotonic()
        if self._pid is not None:
            self._first = sample(self._pid)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = time.monotonic()
        if self._pid is not None:
            self._last = sample(self._pid)
            self._end.set()
            self._thread.join()

    @property
    def processors(self) -> float | None:
        """How many processors the server kept busy on average."""
        if self._first is None or self._last is None:
            return None
        return (self._last.server - self._first.server) / (self._ended - self._started)

    @property
    def memory_mb(self) -> float | None:
        """The most memory that all of its processes held at once."""
        return max((megabytes for _, megabytes in self.memory), default=None)

    def _look(self) -> None:
        assert self._pid is not None
        while True:
            self.memory.append((time.time(), memory_mb(self._pid)))
            if self._end.wait(_EVERY_S):
                return


def memory_mb(pid: int, proc: Path = Path("/proc")) -> float:
    """The memory of a process and its descendants; what several share is counted once (PSS)."""
    return sum(_pss_kb(proc / str(member) / "smaps_rollup") for member in family(pid, proc)) / 1024


def _pss_kb(path: Path) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
