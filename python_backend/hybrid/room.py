"""How much the hybrid takes on at a time. What is beyond it is refused at once: a queue without an end helps nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from .errors import Overloaded


def size_of(arrays: Iterable[NDArray[Any]]) -> int:
    """The bytes that inputs fill in shared memory. Of strings NumPy itself counts the pointers alone."""
    return sum(
        sum(map(len, array.ravel().tolist())) + 4 * array.size if array.dtype.hasobject else array.nbytes
        for array in arrays
    )


class Room:
    """Counts the requests inside, and the bytes of their inputs, which lie in shared memory until they are answered.

    One thread asks for room and enters; any may leave.
    """

    def __init__(self, requests: int, size: int) -> None:
        self._most_requests = requests
        self._most_bytes = size
        self._lock = threading.Lock()
        self._requests = 0
        self._bytes = 0

    @property
    def requests(self) -> int:
        """The number of requests that have no answer yet."""
        return self._requests

    def require(self, size: int) -> None:
        """Raise Overloaded unless there is room for one more request of `size` bytes; a lone one has always."""
        if self._requests >= self._most_requests:
            raise Overloaded(f"{self._requests} requests", "max_pending")
        if self._requests and self._bytes + size > self._most_bytes:
            raise Overloaded(f"inputs of {self._bytes / 1e6:.0f} MB", "max_pending_mb")

    def enter(self, size: int) -> None:
        """One more request is inside."""
        with self._lock:
            self._requests += 1
            self._bytes += size

    def leave(self, size: int) -> None:
        """A request is answered."""
        with self._lock:
            self._requests -= 1
            self._bytes -= size
