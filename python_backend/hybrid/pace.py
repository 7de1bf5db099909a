"""How fast the twins answer now, their queues included: what is late depends on it."""

from __future__ import annotations

import statistics
from collections import deque

from .preference import TWINS

# How many of a twin's last answers tell.
_LAST = 16
_NEARLY = 0.9  # of a twin's time: a tenth may go by until a thread is free


class Pace:
    """The times of each twin's last answers, in seconds."""

    def __init__(self) -> None:
        self._took_s = {twin: deque[float](maxlen=_LAST) for twin in TWINS}

    def add(self, twin: str, took_s: float) -> None:
        """This twin has answered."""
        self._took_s[twin].append(took_s)

    def quickest_s(self, twin: str) -> float:
        """The time that the quickest of this twin's last answers took; 0 where there is none."""
        return min(tuple(self._took_s[twin]), default=0.0)

    def is_late(self, twin: str, took_s: float, wanted_s: float, due_s: float) -> bool:
        """Whether a twin without an answer for so long is to blame: where it had all `due_s` that the model gives it.

        Or half of what its caller wanted to give, who may have waited for a thread, and twice the median of its last
        answers.
        """
        enough_s = max(wanted_s / 2, 2 * statistics.median(tuple(self._took_s[twin]) or (0.0,)))
        return took_s >= min(enough_s, _NEARLY * due_s)
