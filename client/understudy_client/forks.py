"""What a forked process does not take over from its parent.

Connections would be used by both, so that each might read the other's answer; threads are not there any more; and a
lock that another thread held is never released.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["after_fork"]

T = TypeVar("T")

_KNOWN: WeakKeyDictionary[Any, Callable[[Any], None]] = WeakKeyDictionary()


def after_fork(one: T, begin_anew: Callable[[T], None]) -> None:
    """Have ``begin_anew(one)`` called in every process forked while ``one`` lives, before it is used there."""
    _KNOWN[one] = begin_anew


def _in_child() -> None:
    for one, begin_anew in list(_KNOWN.items()):
        begin_anew(one)


# For good, as a call of it cannot be taken back: once for all clients. Windows has no forks.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
