"""Who is asked, in which order, and what counts as an answer. Knows neither Triton nor threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .batch import Answer, Batch
from .cooldown import CoolDown
from .errors import BothFailed, TwinFailed
from .guard import broken_output, rows_not_finite
from .preference import TWINS
from .settings import Settings

# A twin that is not loaded is refused by Triton in well under a millisecond, and may be back any moment: such a refusal
# is not worth remembering. A dead stub takes a second to be refused.
COSTLY_S = 0.1

# Asks one twin for one batch. Raises TwinFailed.
Ask = Callable[[str, Batch], Answer]


class Router:
    """Asks the preferred twin, checks what it says, and turns to the other one."""

    def __init__(self, settings: Settings, ask: Ask, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._ask = ask
        self._clock = clock
        self.cooldowns: Mapping[str, CoolDown] = {twin: CoolDown(clock) for twin in TWINS}

    @property
    def falls_back(self) -> bool:
        """Whether the other twin may answer."""
        return self._settings.fallback_enabled

    def primary(self, batch: Batch) -> Answer:
        """The preferred twin's answer; rows of the ONNX twin that are not finite are the original's.

        What the original says stands even where it is not finite: there is nothing better to compare with. Raises
        TwinFailed.
        """
        twin = batch.wishes.prefer
        cooldown = self.cooldowns[twin]
        if self._settings.fallback_enabled and not cooldown.allows():
            raise TwinFailed(twin, "resting after it could not be asked", unavailable=True)
        started = self._clock()
        try:
            answer = self._checked(twin, batch)
        except TwinFailed as error:
            if error.unavailable and self._clock() - started >= COSTLY_S:
                cooldown.failed()
            raise
        cooldown.succeeded()
        if twin == "original":
            return answer
        bad = rows_not_finite(self._settings, answer.outputs, batch.asked, batch.rows)
        if bad is None:
            return answer
        cause = TwinFailed(twin, f"{int(bad.sum())} of {batch.rows} rows are not finite")
        if not self._settings.fallback_enabled:
            raise cause
        if bad.all():
            return self.fallback(batch, cause)
        return answer.patched(bad, self.fallback(batch.take(bad), cause))

    def fallback(self, batch: Batch, cause: TwinFailed) -> Answer:
        """The other twin's answer, after `cause`. Raises BothFailed, or `cause` where falling back is switched off."""
        if not self._settings.fallback_enabled:
            raise cause
        twin = other(batch.wishes.prefer)
        try:
            answer = self._checked(twin, batch)
            bad = None
            if twin == "onnx":
                bad = rows_not_finite(self._settings, answer.outputs, batch.asked, batch.rows)
            if bad is not None:
                raise TwinFailed(twin, f"{int(bad.sum())} of {batch.rows} rows are not finite")
        except TwinFailed as error:
            raise BothFailed(cause, error) from error
        return answer

    def late(self, batch: Batch) -> TwinFailed:
        """Note that the preferred twin is late; gives the cause for the fallback."""
        self.cooldowns[batch.wishes.prefer].failed(late=True)
        budget_ms = batch.wishes.primary_budget_s * 1e3
        return TwinFailed(batch.wishes.prefer, f"no answer within its budget of {budget_ms:.0f} ms")

    def _checked(self, twin: str, batch: Batch) -> Answer:
        answer = self._ask(twin, batch)
        broken = broken_output(self._settings, answer.outputs, batch.asked, batch.rows)
        if broken:
            raise TwinFailed(twin, broken)
        return answer


def other(twin: str) -> str:
    """The twin that is not `twin`."""
    return TWINS[1 - TWINS.index(twin)]
