"""Models that load side by side: wait for all of them, but not for those that will never end."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Protocol

from serving.errors import LoadHangs
from serving.stubs import UNNAMED, Stub, Stubs

__all__ = ["Together", "load_together", "wait_for", "whose"]

_LOADERS = 4
# A process that ends as soon as it has begun lives for a quarter of a second.
_LOOK_EVERY_S = 0.2
_HANGS_AFTER_S = 8.0
# A load during which its processes took less than this part of one processor for so long has come to a stop.
_IDLE_S = 25.0
_BUSY = 0.01


class Processes(Protocol):
    """What is looked at of the processes of each load: serving.stubs.Stubs has it."""

    def died(self) -> Collection[Stub]:
        """The processes that have died since the last look, with their load as the model, or UNNAMED."""

    def of(self, name: str, /) -> list[int]:
        """The processes of one load that live now."""

    def processor_s(self, name: str, /) -> float:
        """Seconds of processor time that they have taken."""


class Together:
    """Several models as one load, `name`, since all of them are there at once or none is."""

    def __init__(self, stubs: Stubs, models: Sequence[str]) -> None:
        self.name = ", ".join(models)
        self._stubs = stubs
        self._models = models

    def died(self) -> Collection[Stub]:
        """Those of all models that have died since the last look."""
        return [one._replace(model=self.name) for one in self._stubs.died() if one.model in (*self._models, UNNAMED)]

    def of(self, _: str, /) -> list[int]:
        """The processes of all models."""
        return [pid for model in self._models for pid in self._stubs.of(model)]

    def processor_s(self, _: str, /) -> float:
        """Seconds of processor time of all of them."""
        return sum(self._stubs.processor_s(model) for model in self._models)


def load_together(
    names: Sequence[str],
    load: Callable[[str], None],
    stubs: Processes,
    *,
    idle_ends: bool,
    end: Callable[[], object],
) -> dict[str, Future[None]]:
    """Load models side by side, and wait as `wait_for` does; gives the ended load of each. `end` ends the server.

    Raises LoadHangs.
    """
    with ThreadPoolExecutor(_LOADERS) as pool:
        loading = {name: pool.submit(load, name) for name in names}
        try:
            wait_for(loading, stubs, idle_ends=idle_ends)
        except BaseException:
            # The calls under way would be waited for; without a server they end.
            end()
            raise
    return loading


def wait_for(loading: Mapping[str, Future[None]], stubs: Processes, *, idle_ends: bool) -> None:
    """Wait until all loads have ended, well or badly. Raises LoadHangs for one that will not.

    Triton itself tells of a process that died while its model was loaded, after four seconds. Where `idle_ends`, a load
    in which no process does anything for long counts as one that will not end either.
    """
    died: dict[str, float] = {}
    idle: dict[str, _Idle] = {}
    pending = {name for name, done in loading.items() if not done.done()}
    while pending:
        wait([loading[name] for name in pending], _LOOK_EVERY_S)
        now = time.monotonic()
        for name in {whose(one, pending) for one in stubs.died()}:
            died.setdefault(name, now)
        pending = {name for name in pending if not loading[name].done()}
        for name in pending & died.keys():
            if now - died[name] > _HANGS_AFTER_S:
                raise LoadHangs(name, "died", now - died[name])
        # Loads take turns: one that waits for its own has no process yet.
        for name in pending if idle_ends else ():
            if name in idle:
                waited_s = idle[name].for_s()
                if waited_s:
                    raise LoadHangs(name, "does nothing", waited_s)
            elif stubs.of(name):
                idle[name] = _Idle(stubs, name)


def whose(one: Stub, loading: Collection[str]) -> str:
    """The load of a process. Of one that nobody saw alive it can be told only where there is no more than one."""
    return next(iter(loading)) if one.model == UNNAMED and len(loading) == 1 else one.model


class _Idle:
    """Whether a load still does something: the processor time of the model's processes, a stretch after the other."""

    def __init__(self, stubs: Processes, name: str) -> None:
        self._stubs = stubs
        self._name = name
        self._since, self._spent = time.monotonic(), stubs.processor_s(name)

    def for_s(self) -> float:
        """The seconds of a whole stretch in which nothing was done; 0 in the middle of one, and where something was."""
        now, spent = time.monotonic(), self._stubs.processor_s(self._name)
        passed, done = now - self._since, spent - self._spent
        # Processes that ended took their time with them.
        if passed < _IDLE_S and done >= 0:
            return 0.0
        self._since, self._spent = now, spent
        return passed if 0 <= done < _BUSY * passed else 0.0
