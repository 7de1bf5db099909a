"""What is tried, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..measuring.timing import Timing
from ..proof.accuracy import Accuracy
from ..proof.parity import Parity

__all__ = ["CHOSEN", "Candidate", "FATES", "Trial"]

CHOSEN = "chosen"
# Every fate that a candidate can have, and what it means.
FATES = {
    "failed": "the exporter, the optimiser or the quantiser could not make it",
    "refused": "the target server could not serve it",
    "parity": "an output differs from the original's by more than the tolerance",
    "accuracy": "it loses more accuracy than the spec allows",
    "slower": "it holds, and another one is faster, or takes less memory for little time",
    "skipped": "it was not tried, or not raced: it could not win, time was up, or the search was off",
    CHOSEN: "it holds, and is the fastest that does",
}


@dataclass(frozen=True)
class Candidate:
    """One way to make the twin.

    `rewrites` are the steps of graph optimisation in their order, none for the exporter's own graph. `calibration` and
    `kept_fp32`, the layers that stay in full precision, are those of quantised graphs. `microbatch` is how many rows of
    a larger batch are in work at a time, 0 for all.
    """

    exporter: str
    rewrites: tuple[str, ...] = ()
    precision: str = "fp32"
    calibration: str = ""
    kept_fp32: tuple[str, ...] = ()
    microbatch: int = 0

    @property
    def name(self) -> str:
        """How reports call it."""
        graph = "+".join((self.exporter, *self.rewrites))
        details = [
            self.calibration,
            f"{len(self.kept_fp32)} layers fp32" if self.kept_fp32 else "",
            f"microbatches of {self.microbatch}" if self.microbatch else "",
        ]
        told = ", ".join(detail for detail in details if detail)
        return f"{graph} {self.precision}" + (f" ({told})" if told else "")


@dataclass
class Trial:
    """A candidate on its way: its file once it is made, what was measured of it, and its fate.

    `quick` times were taken among a few candidates early on, `timings` in the last race; both by batch size. `error` is
    what refused it, where that was an error of ours.
    """

    candidate: Candidate
    path: Path | None = None
    nodes: int = 0
    operators: tuple[str, ...] = ()
    bytes: int = 0
    fate: str = ""
    reason: str = ""
    parity: Parity | None = None
    accuracy: Accuracy | None = None
    quick: dict[int, Timing] = field(default_factory=dict)
    timings: dict[int, Timing] = field(default_factory=dict)
    error: Exception | None = None

    @property
    def name(self) -> str:
        """The candidate's."""
        return self.candidate.name

    @property
    def alive(self) -> bool:
        """Whether it may still win."""
        return not self.fate

    def end(self, fate: str, reason: str = "") -> Trial:
        """Decide its fate; the first one stands."""
        if self.alive:
            self.fate, self.reason = fate, reason
        return self

    def taken_back(self) -> Trial:
        """It may win again: those that it lost to are out."""
        self.fate = self.reason = ""
        return self

    def facts(self) -> dict[str, Any]:
        """The trial as plain data, for the evidence: comparisons condensed to the worst of each output."""
        return {
            "name": self.name,
            **asdict(self.candidate),
            "fate": self.fate,
            "reason": self.reason,
            "nodes": self.nodes,
            "bytes": self.bytes,
            "parity": None if self.parity is None else self.parity.by_output(),
            "accuracy": None if self.accuracy is None else asdict(self.accuracy),
            "quick": _by_batch(self.quick),
            "timings": _by_batch(self.timings),
        }

    def quantised(self, precision: str, calibration: str = "", kept_fp32: tuple[str, ...] = ()) -> Trial:
        """A new trial of the same graph in another precision."""
        candidate = replace(self.candidate, precision=precision, calibration=calibration, kept_fp32=kept_fp32)
        return Trial(candidate)

    def in_microbatches(self, rows: int) -> Trial:
        """A new trial of the same graph that has at most `rows` rows in work."""
        return Trial(replace(self.candidate, microbatch=rows))


def _by_batch(timings: Mapping[int, Timing]) -> dict[str, dict[str, Any]]:
    return {str(size): asdict(timing) for size, timing in sorted(timings.items())}
