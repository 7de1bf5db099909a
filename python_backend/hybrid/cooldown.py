"""When a twin may be asked. This is the place of the circuit breaker: the router knows only these three calls."""

from __future__ import annotations

import threading
from collections.abc import Callable


class CoolDown:
    """Leaves a twin alone for a while once it cannot be asked: 1 s, doubled at each failed probe up to 60 s.

    One caller at a time is let through as the probe. A dead stub costs each call a second and hangs for good after
    some hundreds, so asking it again and again is not an option. Thread-safe; `clock` gives seconds.
    """

    FIRST_S = 1.0
    LONGEST_S = 60.0
    # Answers that come too late: one may be an accident, several in a row are a state.
    LATE_IN_A_ROW = 3

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until: float | None = None
        self._pause_s = self.FIRST_S
        self._probing = False
        self._late = 0

    @property
    def resting(self) -> bool:
        """Whether the twin is left alone."""
        return self._until is not None

    def allows(self) -> bool:
        """Whether the twin may be asked now. While it rests, True makes the caller the probe."""
        if self._until is None:
            return True
        with self._lock:
            now = self._clock()
            if self._until is None or now < self._until:
                return self._until is None
            # The next probe waits for the verdict of this one, or for a pause, should the verdict never come.
            self._until = now + self._pause_s
            self._probing = True
            return True

    def succeeded(self) -> None:
        """The twin answered."""
        if self._until is None and not self._late:
            return
        with self._lock:
            self._until = None
            self._pause_s = self.FIRST_S
            self._probing = False
            self._late = 0

    def failed(self, *, late: bool = False) -> None:
        """The twin could not be asked, or (`late`) did not answer in time."""
        with self._lock:
            if self._until is None:
                self._late += late
                if not late or self._late >= self.LATE_IN_A_ROW:
                    self._until = self._clock() + self._pause_s
            elif self._probing:
                # Only the probe's verdict counts: calls that were under way when the twin died all fail at once.
                self._probing = False
                self._pause_s = min(self._pause_s * 2, self.LONGEST_S)
                self._until = self._clock() + self._pause_s
