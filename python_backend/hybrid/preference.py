"""Which twin is asked first: the same one for all requests, or one by the rows of the request."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from .errors import SettingsInvalid

TWINS = ("onnx", "original")

_RANGE = re.compile(rf"([1-9][0-9]{{0,8}}):({'|'.join(TWINS)})")


def other(twin: str) -> str:
    """The twin that is not `twin`."""
    return TWINS[1 - TWINS.index(twin)]


@dataclass(frozen=True)
class Preference:
    """From `firsts[n]` rows on, `twins[n]` is asked first. `firsts` begins with 1 and ascends."""

    firsts: tuple[int, ...]
    twins: tuple[str, ...]

    def twin(self, rows: int) -> str:
        """The twin for a request of `rows` rows, one at least."""
        return self.twins[bisect_right(self.firsts, rows) - 1]


def read_preference(text: str) -> Preference:
    """Read the parameter `prefer`: a twin, or ranges such as "1:original,9:onnx". Raises SettingsInvalid."""
    if text in TWINS:
        return Preference((1,), (text,))
    found = [_RANGE.fullmatch(part.strip()) for part in text.split(",")]
    ranges = [(int(match[1]), match[2]) for match in found if match]
    firsts = tuple(first for first, _ in ranges)
    if len(ranges) < len(found) or firsts[0] != 1 or any(a >= b for a, b in pairwise(firsts)):
        expected = f"one of {', '.join(TWINS)}, or ranges of rows that ascend from 1 such as '1:original,9:onnx'"
        raise SettingsInvalid("prefer", expected, text)
    return Preference(firsts, tuple(twin for _, twin in ranges))
