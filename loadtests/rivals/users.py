"""The Locust user of the hand-written server."""

from __future__ import annotations

from typing import Any

import numpy as np

from loadtests.users import HttpUser
from loadtests.wire import Answer


class FastApiHttp(HttpUser):
    """A hand-written server around the same graph: `loadtests.rivals.fastapi_server`."""

    protocol = "bytes"

    def request(self, number: int) -> tuple[str, bytes, dict[str, str]]:
        """The inputs' bytes, one after the other in the order of their names."""
        return "/infer", self.shared.plain_requests()[number], {}

    def answer(self, number: int, content: bytes, headers: Any) -> Answer:  # noqa: ARG002
        """The outputs' bytes, which are shaped like those of the right answer. Raises ValueError where they are not."""
        outputs, place = {}, 0
        for name, right in sorted(self.shared.questions[number].right.outputs.items()):
            outputs[name] = np.frombuffer(content, right.dtype, right.size, place).reshape(right.shape)
            place += right.nbytes
        if place != len(content):
            raise ValueError(f"{len(content)} bytes, expected {place}")
        return Answer(outputs, frozenset())
