"""Where the event loop does not do by itself what takes long: everybody waits for it, /healthz too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["beside_the_loop"]

P = ParamSpec("P")
T = TypeVar("T")
# Below, the way to a thread and back takes longer than the work.
_SMALL_BYTES = 2**16


async def beside_the_loop(size: int, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Do work on so many bytes: in a thread where they are many."""
    if size > _SMALL_BYTES:
        return await asyncio.to_thread(work, *arguments, **named)
    return work(*arguments, **named)
