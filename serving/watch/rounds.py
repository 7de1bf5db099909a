"""One round after the other: every model that should serve is asked, and what is dead is loaded anew."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from serving.control import ModelStatus
from serving.errors import ModelError, ProbeFailed, RepositoryUnreadable, ServingError
from serving.stubs import Stub, Stubs
from serving.watch import repairs, traffic
from serving.watch.care import DIED, HANGS, Care, Policy, may_be_busy, quotes_twins, twins_explain
from serving.watch.repairs import Repairs, in_a_thread, is_away, is_broken, is_twin, public_name, twins_of
from serving.watch.telling import Telling
from serving.watch.traffic import Traffic

_Key = TypeVar("_Key", bound=Hashable)
_Found = TypeVar("_Found")

_AT_ONCE = 8
# How often it is looked whether a process has died.
_GLANCE_S = 0.2
# How long a watch that ends waits for its repairs.
_REPAIRS_END_S = 1.0
GOLDEN = "golden.npz"


class Control(repairs.Control, traffic.Control, Protocol):
    """What is asked of the server besides what its repairs and the traffic ask: serving.ModelControl has it."""

    def ready(self, name: str, version: int | None = None) -> bool:
        """Whether the server says that the model serves."""

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
        processes_of = stubs.kept if stubs is not None else lambda _: ()
        self._repairs = Repairs(control, telling, self._policy, clock=clock, aside=aside, processes_of=processes_of)
        self._repository = repository
        self._only = only
        self._stubs = stubs
        self._begin_anew = begin_anew
        self._clock = clock
        self._cares: dict[str, Care] = {}
        self._traffic = Traffic(control)
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
        away = self._repairs.under_way
        try:
            index, there = self._index()
        except RepositoryUnreadable:
            self._mend([name for name, care in self._cares.items() if care.unloaded], self._cares.keys())
            raise
        ready = [one for one in index if one.ready]
        self._telling.broken({(one.name, one.version or 0): one.reason for one in index if is_broken(one)})
        for name in {one.name for one in ready} - self._cares.keys():
            self._cares[name] = Care(self._policy)
        owed = {name for name, care in self._cares.items() if care.unloaded}
        # What was being loaded may be loaded by now, and listed as it was before.
        self.serving = tuple(sorted({one.name for one in ready} | owed | away))
        self._telling.reachable(self.serving)
        # One that is loaded anew may have been listed after it was unloaded.
        wanted = {one.name for one in index if not is_away(one)} | owed | away
        self._telling.wanted(wanted)
        # Nobody is called any more for the others: for one that is loaded again, and fails again, somebody has to be.
        for name in self._cares.keys() - wanted:
            self._cares[name].well()
        if self._stubs is not None:
            self._telling.left(self._stubs.left)
        reasons = self._asked([one for one in ready if one.name not in away], there)
        now = self._clock()
        ill = {
            one: reason
            for one, reason in reasons.items()
            if reason is not None and not twins_explain(reason, self._traffic.well_s(twins_of(one.name, there), now))
        }
        for one in reasons:
            if one in ill:
                self._cares[one.name].failed(ill[one])
            # Of several versions all have to be well.
            elif not any(other.name == one.name for other in ill):
                self._cares[one.name].well()
        self._mend(self._cares, there)
        return not owed and not away and not any(reasons.values())

    def mend(self, died: Collection[Stub]) -> frozenset[str]:
        """Load anew the models whose serving processes were seen to die; nobody is asked before. Gives their names.

        A process of a version that is still being loaded is its publisher's affair. A server that cannot list its
        repository is asked for each of them. Raises ServerUnreachable.
        """
        self._repairs.died(died)
        died = [one for one in died if not self._repairs.was_replaced(one)]
        try:
            index, there = self._index()
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
            self._traffic.forget(name)
            self._telling.probed(name, "failed", DIED)
            self._cares.setdefault(name, Care(self._policy)).failed(DIED)
        self._mend(dead, there)
        return frozenset(dead)

    def _index(self) -> tuple[list[ModelStatus], set[str]]:
        """What the server lists of the models that are looked after, and the names of all that it lists."""
        listed = self._control.index()
        return [one for one in listed if self._mine(one.name)], {one.name for one in listed}

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

    def _asked(self, ready: list[ModelStatus], there: Collection[str]) -> dict[ModelStatus, str | None]:
        """Why each of them does not answer, or None where it does, or has too much to do to tell.

        A busy server takes seconds to say so. Who dies meanwhile is mended at once, and not judged by that answer.
        """
        errors, mended = self._side_by_side({one: partial(self._error, one) for one in ready})
        for one, error in errors.items():
            if error is None:
                self._traffic.answered_the_watch(one.name)
        failed = {one.name for one, error in errors.items() if error is not None}
        self._traffic.looked({one.name for one in errors} - failed - mended, self._clock())
        words = {one: error.reason for one, error in errors.items() if isinstance(error, ProbeFailed)}
        doubtful = {one for one, reason in words.items() if may_be_busy(reason)}
        quoting = {one for one, reason in words.items() if quotes_twins(reason)}
        names = {name for one in doubtful | quoting for name in (one.name, *twins_of(one.name, there))}
        answer, mended_since = self._side_by_side(
            {name: partial(self._traffic.has_answered_others, name) for name in names}
        )
        reasons: dict[ModelStatus, str | None] = {}
        for one, error in errors.items():
            if one.name in mended | mended_since:
                continue
            twins = twins_of(one.name, there)
            if one in quoting and any(answer[twin] for twin in twins):
                # Others have an answer from this hybrid, it seems: so it finds its twins.
                for twin in twins:
                    self._traffic.forget(twin)
            # What a hybrid refuses Triton counts as answered; what it has answered, one of its twins has.
            busy = one in doubtful and answer[one.name] and (not twins or any(answer[twin] for twin in twins))
            if error is not None:
                self._telling.probed(one.name, "busy" if busy else "failed", error.reason)
            reasons[one] = None if error is None or busy else error.reason
        return reasons

    def _side_by_side(self, calls: Mapping[_Key, Callable[[], _Found]]) -> tuple[dict[_Key, _Found], frozenset[str]]:
        """What the calls give, and the models that were seen to die and were mended meanwhile."""
        mended: frozenset[str] = frozenset()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = {key: pool.submit(call) for key, call in calls.items()}
            while wait(found.values(), timeout=_GLANCE_S).not_done:
                mended |= self._mend_the_dead()
        return {key: one.result() for key, one in found.items()}, mended

    def _mine(self, name: str) -> bool:
        return self._only is None or name in self._only

    def _error(self, one: ModelStatus) -> ModelError | None:
        """Why a model does not answer, None where it does."""
        try:
            took_s = self._probe(one)
        except ModelError as error:
            return error
        self._telling.answered(one.name, took_s)
        return None

    def _probe(self, one: ModelStatus) -> float:
        """Ask for a golden sample where there is one that can be read, for zeros otherwise."""
        # Also to look whether there is one needs rights, and a disk that answers.
        with contextlib.suppress(OSError, ValueError):
            golden = self._golden(one)
            if golden is not None:
                return self._control.probe(one.name, one.version, self._policy.timeout_s, golden)
        return self._control.probe(one.name, one.version, self._policy.timeout_s)

    def _golden(self, one: ModelStatus) -> Path | None:
        if self._repository is None or one.version is None:
            return None
        path = self._repository / public_name(one.name) / str(one.version) / GOLDEN
        return path if path.is_file() else None
