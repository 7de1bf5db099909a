"""One round after the other: every model that should serve is asked, and what is dead is loaded anew."""

from __future__ import annotations

import contextlib
import threading
import time
import zipfile
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Protocol

from serving.control import ModelStatus
from serving.errors import ModelError, ProbeFailed, RepositoryUnreadable, ServingError
from serving.stubs import Stub, Stubs
from serving.watch import repairs
from serving.watch.care import DIED, HANGS, Care, Policy
from serving.watch.repairs import Repairs, in_a_thread, is_broken, is_twin, public_name
from serving.watch.telling import Telling

_AT_ONCE = 8
# How often it is looked whether a process has died.
_GLANCE_S = 0.2
# How long a watch that ends waits for its repairs.
_REPAIRS_END_S = 1.0
GOLDEN = "golden.npz"


class Control(repairs.Control, Protocol):
    """What is asked of the server besides what its repairs ask: serving.ModelControl has it."""

    def ready(self, name: str, version: int | None = None) -> bool:
        """Whether the server says that the model serves."""

    def answered(self, name: str) -> int:
        """How many requests the model has answered since it was loaded."""

    def probe(
        self, name: str, version: int | None = None, timeout_s: float | None = None, golden: Path | None = None
    ) -> float:
        """Ask the model; the seconds that it took."""


class Watch:
    """Looks after the models of one server.

    It probes what the server calls ready. A model that somebody unloaded is left so; one that the watch unloaded and
    could not load again is its own to load; `serving` has both, as of the last look. `repository` has the golden
    samples to ask for; without it, or where there are none, the request is one of zeros. `only` names the models to
    look after, None stands for all. `stubs` shows deaths between two rounds, where the server runs on this machine.
    `begin_anew` is asked when a hybrid's process has died, or its load hangs, and is told which: it is true where it
    ended the server for that. What the process had taken on is answered by nobody as long as the server lives, and a
    load that hangs is the last one of its model. `aside` runs a repair.
    """

    def __init__(
        self,
        control: Control,
        telling: Telling,
        *,
        policy: Policy | None = None,
        repository: Path | None = None,
        only: frozenset[str] | None = None,
        stubs: Stubs | None = None,
        begin_anew: Callable[[str, str], bool] = lambda *_: False,
        clock: Callable[[], float] = time.monotonic,
        aside: Callable[[Callable[[], None]], None] = in_a_thread,
    ) -> None:
        self._control = control
        self._telling = telling
        self._policy = policy or Policy()
        processes_of = stubs.of if stubs is not None else lambda _: ()
        self._repairs = Repairs(control, telling, self._policy, clock=clock, aside=aside, processes_of=processes_of)
        self._repository = repository
        self._only = only
        self._stubs = stubs
        self._begin_anew = begin_anew
        self._clock = clock
        self._cares: dict[str, Care] = {}
        self._answered: dict[str, int] = {}
        self.serving: tuple[str, ...] = ()

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop. A round that fails is told of, and the next one comes all the same."""
        next_look = self._clock()
        try:
            while not stop.wait(_GLANCE_S):
                try:
                    self._mend_the_dead()
                    if self._clock() >= next_look:
                        next_look = self._clock() + self._policy.interval_s
                        self.look()
                except ServingError as error:
                    self._telling.unreachable(str(error))
                # Whatever it was: a watch that has ended without a word is worse than none.
                except Exception as error:  # noqa: BLE001
                    self._telling.unreachable(f"the watch could not look: {type(error).__name__}: {error}")
        finally:
            self._repairs.leave(_REPAIRS_END_S)

    def look(self) -> bool:
        """One round; whether every model answered. Raises ServerUnreachable.

        Without its index a server's models are not asked, since somebody may have unloaded one; those that the watch
        owes are loaded all the same. Raises RepositoryUnreadable then.
        """
        try:
            index = self._index()
        except RepositoryUnreadable:
            self._mend([name for name, care in self._cares.items() if care.unloaded], self._cares.keys())
            raise
        ready = [one for one in index if one.ready]
        self._telling.broken({(one.name, one.version or 0): one.reason for one in index if is_broken(one)})
        for name in {one.name for one in ready} - self._cares.keys():
            self._cares[name] = Care(self._policy)
        owed = {name for name, care in self._cares.items() if care.unloaded}
        self.serving = tuple(sorted({one.name for one in ready} | owed))
        self._telling.reachable(self.serving)
        if self._stubs is not None:
            self._telling.left(self._stubs.left)
        away = self._repairs.under_way
        reasons = self._asked([one for one in ready if one.name not in away])
        for one, reason in reasons.items():
            if reason is not None:
                self._cares[one.name].failed(reason)
            # Of several versions all have to be well.
            elif not any(other.name == one.name and reasons[other] for other in reasons):
                self._cares[one.name].well()
        self._mend(self._cares, {one.name for one in index})
        return not owed and not away and not any(reasons.values())

    def mend(self, died: Collection[Stub]) -> frozenset[str]:
        """Load anew the models whose serving processes were seen to die; nobody is asked before. Gives their names.

        A process of a version that is still being loaded is its publisher's affair. A server that cannot list its
        repository is asked for each of them. Raises ServerUnreachable.
        """
        self._repairs.died(died)
        died = [one for one in died if not self._repairs.was_replaced(one)]
        try:
            index = self._index()
            there = {one.name for one in index}
        except RepositoryUnreadable:
            # Also of one whose process has died it says that it is ready, as long as nobody unloaded it.
            ready = [one for one in died if self._mine(one.model) and self._control.ready(one.model, one.version)]
            index = [ModelStatus(one.model, one.version, "READY", "") for one in ready]
            there = {one.name for one in index} | self._cares.keys()
        serving = {(one.name, one.version or 0) for one in index if one.ready}
        # A server that tells of no versions has one.
        dead = {one.model for one in died if {(one.model, one.version), (one.model, 0)} & serving}
        dead -= self._repairs.under_way
        if any(self._begin_anew(name, DIED) for name in sorted(dead) if not is_twin(name)):
            return frozenset(dead)
        for name in dead:
            self._telling.probed(name, "failed", DIED)
            self._cares.setdefault(name, Care(self._policy)).failed(DIED)
        self._mend(dead, there)
        return frozenset(dead)

    def _index(self) -> list[ModelStatus]:
        return [one for one in self._control.index() if self._mine(one.name)]

    def _mend(self, names: Collection[str], there: Collection[str]) -> None:
        now = self._clock()
        self._repairs.begin(self._cares, [name for name in names if self._cares[name].needs_repair(now)], there)

    def _mend_the_dead(self) -> frozenset[str]:
        died = frozenset[Stub]()
        if self._stubs is not None:
            # A process that dies while it is loaded lies there for less than a second.
            died = self._stubs.died(in_passing=not self._repairs.under_way)
        mended = self.mend(died) if died else frozenset()
        for name in self._repairs.hanging():
            if not is_twin(name) and self._begin_anew(name, HANGS):
                break
        return mended

    def _asked(self, ready: list[ModelStatus]) -> dict[ModelStatus, str | None]:
        """Why each of them does not answer, or None where it does.

        A busy server takes seconds to say so. Who dies meanwhile is mended at once, and not judged by that answer.
        """
        mended: set[str] = set()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = {one: pool.submit(self._reason, one) for one in ready}
            while wait(answers.values(), timeout=_GLANCE_S).not_done:
                mended |= self._mend_the_dead()
        return {one: answer.result() for one, answer in answers.items() if one.name not in mended}

    def _mine(self, name: str) -> bool:
        return self._only is None or name in self._only

    def _reason(self, one: ModelStatus) -> str | None:
        """Why a model does not answer, in the server's words; None where it does, or has too much to do to tell."""
        try:
            took_s = self._probe(one)
        except ModelError as error:
            busy = isinstance(error, ProbeFailed) and "deadline" in error.reason.lower() and self._busy(one.name)
            self._telling.probed(one.name, "busy" if busy else "failed", error.reason)
            return None if busy else error.reason
        self._telling.answered(one.name, took_s)
        return None

    def _probe(self, one: ModelStatus) -> float:
        """Ask for a golden sample where there is one that can be read, for zeros otherwise."""
        # Also to look whether there is one needs rights, and a disk that answers.
        with contextlib.suppress(OSError, ValueError, zipfile.BadZipFile):
            golden = self._golden(one)
            if golden is not None:
                return self._control.probe(one.name, one.version, self._policy.timeout_s, golden)
        return self._control.probe(one.name, one.version, self._policy.timeout_s)

    def _busy(self, name: str) -> bool:
        """Whether a model that did not answer in time has answered others since the last look: then it lives."""
        try:
            now = self._control.answered(name)
        except ServingError:
            return False
        before, self._answered[name] = self._answered.get(name), now
        return before is not None and now > before

    def _golden(self, one: ModelStatus) -> Path | None:
        if self._repository is None or one.version is None:
            return None
        path = self._repository / public_name(one.name) / str(one.version) / GOLDEN
        return path if path.is_file() else None
