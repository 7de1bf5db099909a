"""A fifth of the users, then two fifths, and so on up to all of them: where does it bend?"""

from __future__ import annotations

from loadtests.shape import Shape

_STEPS = 5


class Step(Shape):
    """Five steps of the same length."""

    def users(self, part: float) -> int:
        """How many there are when this part of the time has gone."""
        return round(self.peak * (int(part * _STEPS) + 1) / _STEPS)
