"""Log lines that do not flood: a dead twin at 500 requests a second is one line every few seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable


class RareLog:
    """Passes on the first line of each kind, then one every `pause_s` seconds with the number of those left out."""

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float], pause_s: float = 10.0) -> None:
        self._write = write
        self._clock = clock
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._next: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def say(self, kind: str, text: str) -> None:
        """Write `text`, or count it."""
        with self._lock:
            now = self._clock()
            if now < self._next.get(kind, now):
                self._left_out[kind] = self._left_out.get(kind, 0) + 1
                return
            self._next[kind] = now + self._pause_s
            left_out = self._left_out.pop(kind, 0)
        self._write(f"{text} (and {left_out} more of this kind)" if left_out else text)
