"""One user more after the other, up to all of them."""

from __future__ import annotations

from loadtests.shape import Shape


class Ramp(Shape):
    """Straight up; the peak is reached after nine tenths of the time."""

    def users(self, part: float) -> int:
        """How many there are when this part of the time has gone."""
        return max(1, round(self.peak * min(1.0, part / 0.9)))
