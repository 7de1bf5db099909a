"""One call in flight: how far it has come, and who may answer it. Every step is taken by exactly one thread."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .batch import Answer, Batch, join
from .breaker import Tickets, undecided
from .errors import DeadlinePassed, HybridError, TwinFailed
from .preference import other
from .router import Router
from .rows import SomeRowsRefused

# Why a twin could not be asked at all, so that a later attempt may well succeed.
_NOT_ASKED = ("gone", "open")

# Hands an answer, or the reason why there is none, to the caller of one request.
Deliver = Callable[[Batch, "Answer | HybridError"], None]


class Job:
    """A batch on its way. The thread that asks the primary and the watchdog race for the turn to the fallback.

    `kind_of` tells a batch's kind: jobs of the same one may be joined, and None is of no kind.
    """

    def __init__(
        self,
        batch: Batch,
        router: Router,
        deliver: Deliver,
        now: float,
        kind_of: Callable[[Batch], object] = lambda _: None,
    ) -> None:
        self.batch = batch
        self.kind_of = kind_of
        self.arrived = now
        self._router = router
        self._deliver = deliver
        self.deadline = now + batch.wishes.deadline_s
        # Until it begins, and once the turn to the fallback is taken, only the deadline is left to watch.
        self.expires = self.deadline
        self._budget_s = self.patience_s
        self._begun = False
        self._abandoned = False
        self._started = now
        # The fallback tells of the primary's call as well, unless that is late: then each speaks for itself.
        self._tickets: Tickets = {}
        self._fallback_tickets = self._tickets
        # What came of the primary's call when the fallback was asked already, and whether that has answered.
        self._failed_late: TwinFailed | None = None
        self._other_answers = False
        self._turn = threading.Lock()
        self._answered = [threading.Lock() for _ in batch.members]

    @property
    def patience_s(self) -> float:
        """How long the twin that is asked first may take."""
        wishes = self.batch.wishes
        return wishes.primary_budget_s if self._router.falls_back else wishes.deadline_s

    @property
    def falls_back_next(self) -> bool:
        """Whether it is the primary's budget that `expires` tells of, not the deadline."""
        return self._router.falls_back and not self._turn.locked()

    @property
    def falls_back_at_once(self) -> bool:
        """Whether the twin that it prefers would not even be asked now."""
        return self._router.falls_back and not self._router.admits(self.batch.wishes.prefer)

    @property
    def is_answered(self) -> bool:
        """Whether no caller waits any more."""
        return all(each.locked() for each in self._answered)

    @property
    def asked_now(self) -> str:
        """The twin whose answer it waits for."""
        prefer = self.batch.wishes.prefer
        return other(prefer) if self._router.falls_back and self._turn.locked() else prefer

    def joined(self, others: Sequence[Job]) -> Job:
        """All as one, row below row, none of them started yet. Its time began with this one's."""
        members = [member for job in (self, *others) for member in job.batch.members]
        return Job(join(members), self._router, self._deliver, self.arrived)

    def begin(self, now: float) -> None:
        """A thread takes it up: the primary gets its share of the time that is left, the fallback the rest.

        After a long wait the rest may be too little for the fallback: the primary gets all of it then. Also a second
        time, when it may ask again: what comes of the first call to the primary is no news then.
        """
        if self._begun:
            self._turn, self._tickets = threading.Lock(), {}
            self._fallback_tickets = self._tickets
        self._begun, self._abandoned, self._started = True, False, now
        if self._router.falls_back:
            wishes = self.batch.wishes
            left_s = self.deadline - now
            self._budget_s = left_s * wishes.primary_budget_s / wishes.deadline_s
            if self._waited_long(now) and left_s - self._budget_s < self._router.pace.quickest_s(other(wishes.prefer)):
                self._budget_s = left_s
            self.expires = now + self._budget_s

    def is_hopeless(self, now: float, cause: TwinFailed | None) -> bool:
        """Whether it has waited so long that an answer would come too late, and keep others waiting for nothing.

        With a `cause`, it is the fallback that would be asked.
        """
        left_s = self.deadline - now
        prefer = self.batch.wishes.prefer
        twin = prefer if cause is None else other(prefer)
        return left_s <= 0 or (self._waited_long(now) and left_s < self._router.pace.quickest_s(twin))

    def _waited_long(self, now: float) -> bool:
        # A short deadline alone is no reason to give up: a call may turn out quicker than the last ones.
        return 2 * (now - self.arrived) > self.batch.wishes.deadline_s

    def begin_fallback(self, now: float) -> None:
        """A thread takes it up to fall back, in what time is left."""
        self._started = now

    def may_ask_again(self, cause: TwinFailed) -> bool:
        """Whether the primary, which could not be asked because of `cause`, may be by now."""
        return cause.kind in _NOT_ASKED and self._router.admits(self.batch.wishes.prefer)

    def skip_primary(self) -> TwinFailed | None:
        """Keep no thread at the primary, to which too many calls are late. Gives why the fallback is to be asked."""
        if self._router.spares(self.batch.wishes.prefer):
            return self.run()
        return self._router.crowded(self.batch.wishes.prefer) if self.turn() else None

    def run(self) -> TwinFailed | None:
        """Ask the primary. Gives why the fallback is to be asked, None where it is not or somebody has turned to it."""
        turn, tickets = self._turn, self._tickets
        try:
            answer = self._router.primary(self.batch, tickets)
        except TwinFailed as error:
            if isinstance(error, SomeRowsRefused):
                # Callers whose own rows are right need not wait for the others'.
                self._router.handed_on(self.batch, tickets, self.answer(error.answer, error.bad))
            if not self.is_answered and self._take(turn):
                return error
            if tickets is self._tickets:
                self._failed_late = error
                self._blame_late_failure()
            else:
                undecided(tickets)
            return None
        answered = 0
        try:
            answered = self.answer(answer)
        finally:
            self._router.handed_on(self.batch, tickets, answered)
        return None

    def turn(self) -> bool:
        """Take the turn to the fallback; False where another thread has it."""
        return self._take(self._turn)

    def _take(self, turn: threading.Lock) -> bool:
        taken = turn.acquire(blocking=False)
        if taken:
            self.expires = self.deadline
        return taken

    def fall_back(self, cause: TwinFailed) -> None:
        """Ask the fallback, after `cause`."""
        try:
            answer = self._router.fallback(self.batch, cause, self._fallback_tickets)
        except HybridError as error:
            self._fail(error)
            return
        self._router.fell_back(self.batch, cause, self.answer(answer))
        self._other_answers = True
        self._blame_late_failure()

    def _blame_late_failure(self) -> None:
        """Tell of a call that failed when nobody waited for it any more, once the other twin could answer the same."""
        error, ticket = self._failed_late, self._tickets.get(self.batch.wishes.prefer)
        if error is not None and ticket is not None and self._other_answers:
            ticket.failed(error.cause)

    def abandon(self, twin: str, now: float) -> bool:
        """Wait no longer for this twin, which is gone; False where another one is asked."""
        waits = self.falls_back_next and self.asked_now == twin
        if waits:
            self._abandoned = True
            self.expires = now
        return waits

    def late(self, now: float) -> TwinFailed:
        """Note that the primary is late, or gone; gives the cause."""
        prefer = self.batch.wishes.prefer
        self._fallback_tickets = {}
        if self._abandoned:
            return TwinFailed(prefer, "it was gone before it answered", "gone")
        return self._late(prefer, self._tickets, self._budget_s, now)

    def _late(self, twin: str, tickets: Tickets, limit_s: float, now: float) -> TwinFailed:
        """Note that nobody waits for a twin any more.

        A caller that gives less time than the twin needs, or has less left, blames nobody: the call may come back well.
        """
        wishes = self.batch.wishes
        first = twin == wishes.prefer
        wanted_s = self.patience_s if first else wishes.deadline_s - wishes.primary_budget_s
        is_late = self._router.is_late(twin, now - self._started, wanted_s, first=first)
        return self._router.late(twin, tickets, limit_s, fair=is_late)

    def pass_deadline(self, now: float) -> None:
        """Answer that time ran out while a twin was asked."""
        self.expires = math.inf
        wishes = self.batch.wishes
        if self._begun:
            self._late(self.asked_now, self._fallback_tickets, wishes.deadline_s, now)
        self.answer(DeadlinePassed(wishes.deadline_s, f"{wishes.prefer} was asked first"))

    def pass_deadline_in_line(self, cause: TwinFailed | None) -> None:
        """Answer that time ran out, or nearly, before a thread was free; to fall back because of `cause`, if given."""
        found = f"{cause}; as many calls as may fall back do so" if cause else "all threads were busy"
        self.answer(DeadlinePassed(self.batch.wishes.deadline_s, found))

    def answer(self, answer: Answer | HybridError, bad: NDArray[np.bool_] | None = None) -> int:
        """Answer each caller that has not been answered, and none of whose rows is `bad`; gives how many."""
        members = self.batch.members
        start = answered = 0
        for number, member in enumerate(members):
            rows, stop = answer, start + member.rows
            if bad is None or not bad[start:stop].any():
                if len(members) > 1 and isinstance(answer, Answer):
                    rows = answer.slice(start, stop)
                answered += self._answer_one(number, rows)
            start = stop
        return answered

    def _answer_one(self, number: int, answer: Answer | HybridError) -> bool:
        first = self._answered[number].acquire(blocking=False)
        if first:
            self._deliver(self.batch.members[number], answer)
        return first

    def _fail(self, error: HybridError) -> None:
        """Where several requests share a call, one of them may have spoilt it: ask for each alone."""
        members = self.batch.members
        if len(members) == 1 or error.unavailable:
            self.answer(error)
            return
        for number, member in enumerate(members):
            # After the deadline nobody waits for the others any more.
            if not self._answered[number].locked():
                self._answer_alone(number, member)

    def _answer_alone(self, number: int, member: Batch) -> None:
        tickets: Tickets = {}
        try:
            try:
                answer = self._router.primary(member, tickets)
                self._router.handed_on(member, tickets, self._answer_one(number, answer))
            except TwinFailed as error:
                answer = self._router.fallback(member, error, tickets)
                self._router.fell_back(member, error, self._answer_one(number, answer))
        except HybridError as error:
            self._answer_one(number, error)
