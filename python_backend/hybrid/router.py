"""Who is asked, in which order, and what counts as an answer. Knows neither Triton nor threads."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .batch import Answer, Batch
from .breaker import Breaker, State, Ticket, Tickets, undecided
from .copies import Aside, Copies
from .errors import BothFailed, RowsRefused, TwinFailed
from .guard import broken_output
from .pace import Pace
from .preference import TWINS, other
from .rows import SomeRowsRefused, left_to_ask, mixed, put_together, refused_rows
from .settings import Settings
from .tally import Tally

# Asks one twin for one batch. Raises TwinFailed.
Ask = Callable[[str, Batch], Answer]


class Router:
    """Asks the preferred twin, checks what it says, and turns to the other one. Every ticket gets its verdict.

    `aside` runs a task beside the callers' way; with it, whether an ill twin is well again, be it asked first or not,
    is found out by a copy of a request, which the other twin answers meanwhile. `when_gone` hears of a twin that Triton
    cannot ask any more, `when_well` of one that has answered such a copy.
    """

    def __init__(
        self,
        settings: Settings,
        ask: Ask,
        clock: Callable[[], float],
        tally: Tally | None = None,
        dice: Callable[[], float] = random.random,
        *,
        aside: Aside | None = None,
        when_gone: Callable[[str], None] = lambda _twin: None,
        when_well: Callable[[str], None] = lambda _twin: None,
    ) -> None:
        self._settings = settings
        self._ask = ask
        self._clock = clock
        self._tally = tally = tally or Tally()
        self.breakers: Mapping[str, Breaker] = {
            twin: Breaker(clock, dice, partial(tally.add, "ml_breaker_opened_total", twin)) for twin in TWINS
        }
        self._copies = None if aside is None else Copies(clock, aside)
        self._when_gone = when_gone
        self._when_well = when_well
        self.quarantined: dict[str, str] = {}
        self.pace = Pace()
        self._lock = threading.Lock()
        self._falling_back = 0

    @property
    def falls_back(self) -> bool:
        """Whether the other twin may answer."""
        return self._settings.fallback_enabled

    @property
    def falling_back(self) -> int:
        """The number of calls to a twin that was not asked first, under way now."""
        return self._falling_back

    @property
    def at_rest(self) -> bool:
        """Whether both twins are well, and no call falls back."""
        well = all(each.state is State.CLOSED for each in self.breakers.values())
        return well and not (self.quarantined or self._falling_back)

    def is_late(self, twin: str, took_s: float, wanted_s: float, *, first: bool) -> bool:
        """See Pace.is_late. `first`: it is not the one that is asked when the other has failed."""
        return self.pace.is_late(twin, took_s, wanted_s, self._settings.due_s(first=first))

    def admits(self, twin: str) -> bool:
        """Whether this twin would be asked, be it for a probe."""
        if twin in self.quarantined or not self.breakers[twin].admits:
            return False
        return not (self.spares(twin) and self._copies is not None and self._copies.is_out(twin))

    def quarantine(self, twin: str, cause: str) -> None:
        """Ask this twin no more, as long as the hybrid is loaded. Its answers are worse than none."""
        self.quarantined[twin] = cause

    def primary(self, batch: Batch, tickets: Tickets) -> Answer:
        """The preferred twin's answer. Once callers have it, `handed_on` is to be called.

        Raises TwinFailed, after which `fallback` is to be asked, and tells then whose fault it was; SomeRowsRefused
        where that is to be asked for some rows alone. What the original says stands even where it is bad itself: there
        is nothing better to compare with.
        """
        twin = batch.wishes.prefer
        try:
            answer = self._answer(twin, batch, tickets, is_spared=self.spares(twin))
        except TwinFailed:
            if not self._settings.fallback_enabled:
                # Nobody else is asked, so nobody can tell whether it was the request.
                undecided(tickets)
            raise
        bad = None if twin == "original" else refused_rows(self._settings, answer, batch)
        if bad is None:
            if self.spares(other(twin)):
                self._find_out(other(twin), batch)
            return answer
        cause = self._refused(twin, bad)
        if not self._settings.fallback_enabled:
            undecided(tickets)
            raise cause
        if bad.all():
            raise cause
        # Rows that come out alone may be their callers' fault, and the others are right.
        tickets[twin].succeeded()
        raise SomeRowsRefused(twin, bad, answer)

    def handed_on(self, batch: Batch, tickets: Tickets, answered: int) -> None:
        """Give the preferred twin credit for an answer that so many requests got: nobody waits for this."""
        tickets[batch.wishes.prefer].succeeded()
        self._selected(batch.wishes.prefer, "preferred", answered)

    def fell_back(self, batch: Batch, cause: TwinFailed, answered: int) -> None:
        """Count an answer of `fallback`, after `cause`, that so many requests got."""
        if answered:
            self._selected(other(batch.wishes.prefer), cause.kind, answered)
            self._selected(batch.wishes.prefer, "preferred", mixed(batch, cause))

    def fallback(self, batch: Batch, cause: TwinFailed, tickets: Tickets) -> Answer:
        """The other twin's answer, after `cause`, to all rows or to those that were refused, the others as they were.

        Raises BothFailed, or `cause` where falling back is switched off.
        """
        if not self._settings.fallback_enabled:
            raise cause
        first, twin = batch.wishes.prefer, other(batch.wishes.prefer)
        self._count_fallback(1)
        try:
            left = left_to_ask(batch, cause)
            answer = self._answer(twin, left, tickets, is_spared=False)
            bad = None
            if twin == "onnx" or isinstance(cause, RowsRefused):
                bad = refused_rows(self._settings, answer, left)
            if bad is not None and twin == "onnx":
                raise self._refused(twin, bad)
        except TwinFailed as error:
            # A request that neither can answer says nothing about either.
            undecided(tickets)
            raise BothFailed(cause, error) from error
        finally:
            self._count_fallback(-1)
        tickets[twin].succeeded()
        if first in tickets:
            # Where the original's rows are no better, the twin was right.
            tickets[first].succeeded() if bad is not None else tickets[first].failed(cause.cause)
        return put_together(answer, cause)

    def late(self, twin: str, tickets: Tickets, limit_s: float, *, fair: bool = True) -> TwinFailed:
        """Note that a twin did not answer within `limit_s` seconds; gives the cause for the fallback.

        Where the limit was not `fair`, its breaker does not hear of it: the call itself may tell once it returns.
        """
        cause = TwinFailed(twin, f"no answer within its budget of {limit_s * 1e3:.0f} ms", "late")
        self._tally.add("ml_deadline_missed_total", twin)
        if fair and twin in tickets:
            tickets[twin].failed(cause.cause, late=True)
        return cause

    def crowded(self, twin: str) -> TwinFailed:
        """Note that late calls to a twin have not returned, too many for one more; gives the cause for the fallback."""
        cause, breaker = TwinFailed(twin, "late calls to it have not returned", "crowded"), self.breakers[twin]
        # Copies find out when it is well again. Callers who gave it less than it takes open nothing.
        if self._copies is not None and breaker.state is State.CLOSED and breaker.is_late and (mine := breaker.admit()):
            mine.failed(cause.cause, gone=True)
        return cause

    def _answer(self, twin: str, batch: Batch, tickets: Tickets, *, is_spared: bool) -> Answer:
        """What the twin says, as a whole an answer. Raises TwinFailed; that a twin is gone its breaker knows then."""
        if twin in self.quarantined:
            raise TwinFailed(twin, f"it is in quarantine: {self.quarantined[twin]}", "quarantined")
        breaker = self.breakers[twin]
        if is_spared:
            self._find_out(twin, batch)
            ticket = None
        else:
            ticket = breaker.admit()
        if ticket is None:
            raise TwinFailed(twin, f"its circuit breaker is open, since {breaker.cause}", "open")
        tickets[twin] = ticket
        return self._asked(twin, batch, ticket)

    def spares(self, twin: str) -> bool:
        """Whether this twin is ill, and nobody need wait to find out if it is well again: the other one is."""
        if self.breakers[twin].state is State.CLOSED or self._copies is None or not self._settings.fallback_enabled:
            return False
        return self.breakers[other(twin)].state is State.CLOSED and not self.quarantined

    def _find_out(self, twin: str, batch: Batch) -> None:
        """Let a copy of the request ask this twin, where its pause is over and no other copy is on its way."""
        if self._copies is None or self._copies.is_out(twin):
            return
        ticket = self.breakers[twin].admit()
        if ticket is not None:
            self._copies.send(twin, ticket, partial(self._probe, twin, batch.copy(), ticket, self._clock()))

    def _probe(self, twin: str, batch: Batch, ticket: Ticket, started: float) -> None:
        limit_s = self._settings.due_s(first=twin == batch.wishes.prefer)
        try:
            answer = self._asked(twin, batch, ticket)
            bad = refused_rows(self._settings, answer, batch)
        except TwinFailed as error:
            # What the other twin cannot answer either says nothing about this one.
            is_its_own = error.kind != "error" or self._answers(other(twin), batch)
            ticket.failed(error.cause) if is_its_own else ticket.undecided()
            return
        if self._clock() - started > limit_s:
            # Callers would not have waited for it.
            ticket.failed(f"no answer within {limit_s * 1e3:.0f} ms", late=True)
            return
        if bad is not None and twin == "onnx":
            ticket.undecided()  # rows may be bad for their caller's fault
        else:
            ticket.succeeded()
            self._when_well(twin)

    def _answers(self, twin: str, batch: Batch) -> bool:
        try:
            self._ask(twin, batch)
        except TwinFailed:
            return False
        return True

    def _asked(self, twin: str, batch: Batch, ticket: Ticket) -> Answer:
        """Ask, with leave, and see to it that the answer is whole. Raises TwinFailed."""
        started = self._clock()
        try:
            answer = self._ask(twin, batch)
            broken = broken_output(self._settings, answer.outputs, batch.asked, batch.rows)
            if broken:
                raise TwinFailed(twin, broken, "malformed")
        except TwinFailed as error:
            self._tally.add("ml_inference_failures_total", twin, error.kind)
            # Of a process that died Triton tells one call after the other, when another one may serve already: only the
            # first of these is news, and only those that waited with it wait in vain.
            if error.kind == "gone" and ticket.failed(error.cause, gone=True, absent=error.absent):
                self._when_gone(twin)
            raise
        finally:
            took_s = self._clock() - started
            self._tally.took(twin, took_s)
        self.pace.add(twin, took_s)
        return answer

    def _selected(self, twin: str, reason: str, answered: int) -> None:
        if answered:
            self._tally.add("ml_backend_selected", twin, reason, amount=answered)

    def _refused(self, twin: str, bad: NDArray[np.bool_]) -> RowsRefused:
        cause = RowsRefused(twin, int(bad.sum()), len(bad))
        self._tally.add("ml_inference_failures_total", twin, cause.kind)
        return cause

    def _count_fallback(self, by: int) -> None:
        with self._lock:
            self._falling_back += by
