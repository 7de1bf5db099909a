"""A tenth of the users, all of them at once for a third of the time, and a tenth again: does it recover?"""

from __future__ import annotations

from loadtests.shape import Shape


class Spike(Shape):
    """The second third is the spike."""

    def users(self, part: float) -> int:
        """How many there are when this part of the time has gone."""
        return self.peak if 1 / 3 <= part < 2 / 3 else max(1, self.peak // 10)
