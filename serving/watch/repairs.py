"""Loading anew what is dead, each model by itself: a load that hangs holds up neither the watch nor another model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from typing import Protocol

from serving.control import ModelStatus
from serving.errors import ModelError, ModelNotFound, RepositoryUnreadable, ServingError
from serving.loads import whose
from serving.stubs import Stub
from serving.watch.care import Care, Policy
from serving.watch.telling import Telling

# Triton tells within four seconds of a process that died while it was loaded, and the load ends. On a machine with too
# much to do that may take longer, and what comes of this is a new server.
_HANGS_AFTER_S = 15.0
_TWINS = ("_onnx", "_original")


class Control(Protocol):
    """What a repair asks of the server: serving.ModelControl has it."""

    def index(self) -> list[ModelStatus]:
        """Every model, a line per version."""

    def probe(self, name: str, version: int | None = None, timeout_s: float | None = None) -> float:
        """Ask the model; the seconds that it took."""

    def reload(self, name: str) -> None:
        """Unload and load it."""


def is_twin(name: str) -> bool:
    """Whether a model is one that a hybrid asks."""
    return name.endswith(_TWINS)


def public_name(name: str) -> str:
    """The name that callers use: the twin's without its ending, and every other as it is."""
    return next((name.removesuffix(twin) for twin in _TWINS if name.endswith(twin)), name)


def twins_of(name: str, there: Collection[str]) -> set[str]:
    """Those of the models `there` that a hybrid of this name asks; none for every other model."""
    return {one for one in there if one != name and public_name(one) == name}


def is_broken(one: ModelStatus) -> bool:
    """Whether a version was to be loaded and could not be."""
    return one.state == "UNAVAILABLE" and one.reason not in ("", "unloaded")


def is_away(one: ModelStatus) -> bool:
    """Whether a version was unloaded, or is being so: for ever, where its process had died before."""
    return one.state == "UNLOADING" or (one.state == "UNAVAILABLE" and not is_broken(one))


def in_a_thread(task: Callable[[], None]) -> None:
    """Run a task aside; the process does not wait for it when it ends."""
    threading.Thread(target=task, name="repair", daemon=True).start()


class Repairs:
    """The repairs of one server that are under way. One object for one watch, whose thread calls it."""

    def __init__(
        self,
        control: Control,
        telling: Telling,
        policy: Policy,
        *,
        clock: Callable[[], float] = time.monotonic,
        aside: Callable[[Callable[[], None]], None] = in_a_thread,
        processes_of: Callable[[str], Collection[int]] = lambda _: (),
    ) -> None:
        self._control = control
        self._telling = telling
        self._policy = policy
        self._clock = clock
        self._aside = aside
        self._processes_of = processes_of
        self._under_way: dict[str, Future[None]] = {}
        # Of each model that is being loaded the processes that it had before: they end, and say nothing of the load.
        self._loading: dict[str, frozenset[int]] = {}
        # And of each that was loaded anew, since one that was stopped then may go on, and end, at any time later.
        self._replaced: dict[str, frozenset[int]] = {}
        self._died: dict[str, float] = {}
        self._told: set[str] = set()
        self._left = False

    @property
    def under_way(self) -> frozenset[str]:
        """The models that are being loaded anew now."""
        return frozenset(name for name, done in self._under_way.items() if not done.done())

    def begin(self, cares: Mapping[str, Care], names: Collection[str], there: Collection[str]) -> None:
        """Begin to load `names` anew, but for those with which that is under way. `there` is what the server has.

        Twins come first: a hybrid without one would answer nobody, and waits until one of them is back.
        """
        for name in sorted(set(names) - self.under_way, key=lambda name: (not is_twin(name), name)):
            twins = twins_of(name, there)
            away = [self._under_way[one] for one in twins & self.under_way]
            first = away if len(away) == len(twins) else []
            done = self._under_way[name] = Future()
            self._told.discard(name)
            self._aside(partial(self._run, name, cares[name], done, first))

    def died(self, stubs: Collection[Stub]) -> None:
        """These have died. Where a load under way has begun one, Triton may now wait for it and never end."""
        loading = self._loading.copy()
        for one in stubs:
            name = whose(one, loading)
            if one.pid not in loading.get(name, {one.pid}):
                self._died.setdefault(name, self._clock())

    def was_replaced(self, one: Stub) -> bool:
        """Whether its model was loaded anew beside it: its death is none of those that serve now."""
        return one.pid in self._replaced.get(one.model, ())

    def hanging(self) -> list[str]:
        """The models whose load will not end any more, as long as it does not. Each is told of once."""
        now = self._clock()
        found = [name for name, since in self._died.copy().items() if now - since > _HANGS_AFTER_S]
        for name in found:
            if name not in self._told:
                self._told.add(name)
                self._telling.hangs(name)
        return found

    def leave(self, within_s: float) -> None:
        """Wait for what is under way, and tell nothing of what takes longer: its connection is about to be closed."""
        wait(self._under_way.values(), within_s)
        self._left = True

    def _run(self, name: str, care: Care, done: Future[None], first: Collection[Future[None]]) -> None:
        try:
            if first:
                wait(first, return_when=FIRST_COMPLETED)
            self._repair(name, care)
        except ServingError as error:
            if not self._left:
                self._telling.unreachable(str(error))
        # Whatever it was: a repair that ends without a word is worse than none.
        except Exception as error:  # noqa: BLE001
            if not self._left:
                self._telling.unreachable(f"{name} could not be loaded anew: {type(error).__name__}: {error}")
        finally:
            done.set_result(None)

    def _repair(self, name: str, care: Care) -> None:
        started = self._clock()
        if not care.unloaded and self._was_unloaded(name):
            care.well()
            return
        self._telling.repairing(name)
        care.unloaded = True
        try:
            self._load(name)
            # Where it is not there from here on, somebody unloaded it.
            care.loaded()
            self._control.probe(name, None, self._policy.timeout_s)
        except ModelNotFound:
            care.well()
            if not self._left:
                self._telling.withdrawn(name)
            return
        except ModelError as error:
            if self._left:
                return
            # One that was loaded may serve all the same, and have no room for this probe: the next looks tell.
            if not care.unloaded:
                care.failed(error.reason)
            given_up = care.given_up
            care.repaired_in_vain(self._clock())
            self._telling.repair_failed(name, error.reason, given_up=care.given_up and not given_up)
            return
        care.well()
        self._telling.repaired(name, self._clock() - started)

    def _load(self, name: str) -> None:
        before = self._loading[name] = frozenset(self._processes_of(name))
        try:
            self._control.reload(name)
            self._replaced[name] = before
        finally:
            del self._loading[name]
            self._died.pop(name, None)

    def _was_unloaded(self, name: str) -> bool:
        """Whether somebody took the model away since it was found to be ready, so that it rightly does not answer."""
        try:
            index = self._control.index()
        except RepositoryUnreadable:
            return False
        return not any(one.ready or is_broken(one) for one in index if one.name == name)
