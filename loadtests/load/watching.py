"""What a server's processes take while a load runs: processor time and memory, looked at again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from loadtests.processor import family, seconds_of

_EVERY_S = 1.0


class Watching:
    """Looks until the context ends. Without a pid there is nothing to see: the server is somewhere else."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        # Seconds since the epoch, as Locust tells its own; seconds of processor time.
        self._looks: list[tuple[float, float]] = []
        # Seconds since the epoch, megabytes.
        self.memory: list[tuple[float, float]] = []

    def __enter__(self) -> Watching:
        if self._pid is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pid is not None:
            self._end.set()
            self._thread.join()

    def processors(self, start: float | None, end: float | None) -> float | None:
        """How many processors the server kept busy on average between two moments, as `busy` tells it."""
        return busy(self._looks, start, end)

    @property
    def memory_mb(self) -> float | None:
        """The most memory that all of its processes held at once."""
        return max((megabytes for _, megabytes in self.memory), default=None)

    def _look(self) -> None:
        assert self._pid is not None
        while True:
            members = family(self._pid)
            self._looks.append((time.time(), seconds_of(members)))
            self.memory.append((time.time(), memory_mb(members)))
            if self._end.wait(_EVERY_S):
                return


def busy(looks: Sequence[tuple[float, float]], start: float | None, end: float | None) -> float | None:
    """How many processors were busy on average from the first to the last look between `start` and `end`.

    A look is a moment, in seconds since the epoch, and the seconds of processor time until then. None with less than
    two of them: what lies around is Locust's start, the users who come, and the end.
    """
    if start is None or end is None:
        return None
    within = [look for look in looks if start <= look[0] <= end]
    if len(within) < 2:
        return None
    (first, before), (last, after) = within[0], within[-1]
    return (after - before) / (last - first)


def memory_mb(members: Iterable[int], proc: Path = Path("/proc")) -> float:
    """The memory of processes in megabytes (10^6 bytes); what several share is counted once (PSS)."""
    return sum(_pss_kib(proc / str(member) / "smaps_rollup") for member in members) * 1024 / 1e6


def _pss_kib(path: Path) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
