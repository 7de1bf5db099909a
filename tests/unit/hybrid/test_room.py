"""How much the hybrid takes on at a time."""

import numpy as np
import pytest

from python_backend.hybrid.errors import Overloaded
from python_backend.hybrid.room import Room, size_of


def test_one_request_more_than_there_is_room_for_is_refused_and_welcome_when_another_left():
    room = Room(requests=2, size=1000)
    for _ in range(2):
        room.require(10)
        room.enter(10)
    with pytest.raises(
        Overloaded, match=r"the hybrid is full: 2 requests are under way .* raise 'max_pending'"
    ) as caught:
        room.require(10)
    assert (caught.value.unavailable, caught.value.outcome) == (True, "unavailable")
    room.leave(10)
    room.require(10)
    assert room.requests == 1


def test_inputs_are_bounded_by_their_size_together():
    room = Room(requests=9, size=1_000_000)
    room.require(600_000)
    room.enter(600_000)
    room.require(400_000)
    with pytest.raises(Overloaded, match=r"inputs of 1 MB are under way already; .* 'max_pending_mb'"):
        room.require(400_001)


def test_a_request_larger_than_all_room_goes_alone():
    room = Room(requests=9, size=10)
    room.require(11)
    room.enter(11)
    with pytest.raises(Overloaded):
        room.require(1)
    room.leave(11)
    room.require(11)


def test_strings_fill_what_they_are_long_and_four_bytes_for_each_length():
    strings = np.array([[b"x" * 1000, b""], [b"ab", "é".encode()]], object)
    numbers = np.zeros((3, 2), np.float32)
    assert size_of([strings, numbers]) == 1000 + 2 + 2 + 4 * 4 + 24
    assert size_of([np.zeros((0, 1), object)]) == 0
