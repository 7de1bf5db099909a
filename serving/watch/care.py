"""What is known of one model's health, and when something is to be done about it. Pure: time is given."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

# What Triton says of a Python model whose process is gone. It is never started again by itself.
_DEATHS = ("not healthy", "is not ready", "stub process", "failed to reinitialize")
# How a hybrid begins to say what it was told of its twins: it lives.
_QUOTES = "no twin could answer"
# What it says of a twin that it finds, and whose answers it does not want. Loaded anew it would find the same, and ask
# one in quarantine again.
_UNWANTED = ("it is in quarantine", "rows are not finite")
# How long a hybrid may go on without asking a twin that is back: the longest pause of its breakers, with the jitter.
LONGEST_PAUSE_S = 66.0
# What is said of a model that is asked for more than it computes: it is late, or has no room for one more request.
_LATE_OR_FULL = ("deadline", "the hybrid is full", "maximum queue size")
# What is said where the process was seen to have died.
DIED = "its stub process has died"
# What is said where Triton waits for a process that died while it was loaded.
HANGS = "its load hangs"


@dataclass(frozen=True)
class Policy:
    """When a model is loaded anew, and how often that is tried. Times are in seconds.

    Probes go out every `interval_s` and may take `timeout_s`. A model that Triton calls dead is loaded anew at once,
    one that fails otherwise after `patience` failures in a row. After a repair that did not help comes a pause of
    `first_pause_s`, twice as long after each further one, up to `longest_pause_s`; after `enough` of them the model is
    given up loudly, though still tried once in the longest pause. What was loaded, and fails otherwise than by its
    death, is given its `patience` again.
    """

    interval_s: float = 3.0
    timeout_s: float = 10.0
    patience: int = 3
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0
    enough: int = 5


class Care:
    """One model: its failures in a row, and the repairs since it was last well."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._failures = 0
        self._dead = False
        self._repairs = 0
        self._next = 0.0
        self.unloaded = False

    @property
    def given_up(self) -> bool:
        """Whether so many repairs did not help that somebody has to look."""
        return self._repairs >= self._policy.enough

    def well(self) -> None:
        """It answered."""
        self.loaded()
        self._repairs = 0
        self._next = 0.0

    def failed(self, reason: str) -> None:
        """It did not, for a reason that Triton gave."""
        self._failures += 1
        self._dead = is_dead(reason)

    def loaded(self) -> None:
        """It was loaded anew: what was said of it before, its death too, is over. Whether that helped is to be seen."""
        self._failures = 0
        self._dead = self.unloaded = False

    def needs_repair(self, now: float) -> bool:
        """Whether it is to be loaded anew at this time."""
        ill = self.unloaded or self._dead or self._failures >= self._policy.patience
        return ill and now >= self._next

    def repaired_in_vain(self, now: float) -> None:
        """Loading it anew did not help; the next try has to wait."""
        pause = min(self._policy.first_pause_s * 2**self._repairs, self._policy.longest_pause_s)
        self._repairs += 1
        self._next = now + pause


def is_dead(reason: str) -> bool:
    """Whether Triton's words mean that the model will not come back by itself."""
    # A hybrid lives that is late, or tells of its twins, whatever it quotes of them.
    return not (quotes_twins(reason) or may_be_busy(reason)) and any(known in reason.lower() for known in _DEATHS)


def quotes_twins(reason: str) -> bool:
    """Whether a hybrid says no more than that its twins do not answer it."""
    return _QUOTES in reason.lower()


def twins_explain(reason: str, twins_well_s: Collection[float]) -> bool:
    """Whether a hybrid says this for its twins' sake, so that it would say no better if it were loaded anew.

    `twins_well_s` is for how long each twin that is well has been so. By the end of its breakers' longest pause a
    hybrid has found such a twin, unless it asks for a version that no longer serves.
    """
    if not quotes_twins(reason):
        return False
    unwanted = any(known in reason.lower() for known in _UNWANTED)
    return unwanted or all(each <= LONGEST_PAUSE_S for each in twins_well_s)


def may_be_busy(reason: str) -> bool:
    """Whether a model for which this is said may be well, and have too much to do."""
    return any(known in reason.lower() for known in _LATE_OR_FULL)
