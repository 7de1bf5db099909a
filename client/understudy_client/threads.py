"""Where an event loop does not do by itself what takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from .calls import Call, Infer
from .dtypes import MANY

__all__ = ["beside_the_loop"]

P = ParamSpec("P")
T = TypeVar("T")


async def beside_the_loop(call: Call[Any], work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Pack a call or read its answer: in a thread where it brings more than `MANY` strings, which are packed singly.

    A model that takes so many may answer with as many.
    """
    if isinstance(call, Infer) and sum(one.array.size for one in call.inputs if one.datatype == "BYTES") > MANY:
        return await asyncio.to_thread(work, *arguments, **named)
    return work(*arguments, **named)
