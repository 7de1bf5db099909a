"""How the twins of a model do, from the server's own counters since each was loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .answers import Answers
from .calls import Counters
from .catalogue import twin_names
from .tables import aligned

__all__ = ["ModelStatistics", "Statistics", "statistics_of"]

_NS_PER_MS = 1e6
_HEADER = ("model", "role", "ok", "failed", "success", "rows", "ms/row", "queue ms")


@dataclass(frozen=True)
class ModelStatistics:
    """The counters of one served model, all loaded versions together; they start anew when the model is loaded.

    ``successes`` and ``failures`` count requests (the hybrid asks a twin once for a whole batch), ``rows`` counts
    inferences. ``success_rate`` is a share from 0 to 1. ``average_compute_ms`` is the time of the executions
    (input, inference and output) divided by the rows computed in them. ``average_queue_ms`` is per request.
    What nothing is known of is None.
    """

    model: str
    successes: int
    failures: int
    success_rate: float | None
    rows: int
    average_compute_ms: float | None
    average_queue_ms: float | None


@dataclass(frozen=True)
class Statistics:
    """The hybrid and its twins side by side; None for one that the server has not loaded.

    ``speedup`` is the original's average compute time per row over the ONNX twin's: 2.0 means that the twin takes half
    the time. It is None until both have computed something. ``answers`` is what the callers met, where the client was
    given a ``metrics_url``.
    """

    model: str
    hybrid: ModelStatistics | None
    onnx: ModelStatistics | None
    original: ModelStatistics | None
    answers: Answers | None = None

    @property
    def speedup(self) -> float | None:
        """How many times faster the ONNX twin computes a row, or None."""
        if self.onnx is None or self.original is None:
            return None
        return _ratio(self.original.average_compute_ms, self.onnx.average_compute_ms)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, ready for JSON."""
        return {**asdict(self), "speedup": self.speedup}

    def table(self) -> str:
        """Return an aligned table with a line for each model, one for the speedup, and what callers met if known."""
        rows: list[tuple[str, ...]] = [_HEADER]
        for role, name in (("hybrid", self.model), *twin_names(self.model).items()):
            rows.append(_line(role, name, getattr(self, role)))
        lines = aligned(rows, right=range(2, len(_HEADER)))
        speedup = "unknown until both twins have answered" if self.speedup is None else f"{self.speedup:.2f} times"
        met = self.answers.lines() if self.answers else []
        return "\n".join([*lines, f"speedup of the ONNX twin over the original: {speedup}", *met])


def statistics_of(model: str, counters: Sequence[Counters]) -> Statistics:
    """Pick a model and its twins out of the counters of a whole server."""
    twins = {role: _summed(name, counters) for role, name in twin_names(model).items()}
    return Statistics(model, _summed(model, counters), twins["onnx"], twins["original"])


def _summed(name: str, counters: Sequence[Counters]) -> ModelStatistics | None:
    mine = [counter for counter in counters if counter.model == name]
    if not mine:
        return None
    successes, failures = sum(counter.successes for counter in mine), sum(counter.failures for counter in mine)
    compute_ms = sum(counter.batch_ns for counter in mine) / _NS_PER_MS
    queue_ms = sum(counter.queue_ns for counter in mine) / _NS_PER_MS
    return ModelStatistics(
        model=name,
        successes=successes,
        failures=failures,
        success_rate=_ratio(successes, successes + failures),
        rows=sum(counter.rows for counter in mine),
        average_compute_ms=_ratio(compute_ms, sum(counter.batch_rows for counter in mine)),
        average_queue_ms=_ratio(queue_ms, sum(counter.queue_count for counter in mine)),
    )


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _line(role: str, name: str, counted: ModelStatistics | None) -> tuple[str, ...]:
    if counted is None:
        return (name, role, *["-"] * (len(_HEADER) - 2))
    return (
        name,
        role,
        str(counted.successes),
        str(counted.failures),
        "-" if counted.success_rate is None else f"{counted.success_rate:.1%}",
        str(counted.rows),
        "-" if counted.average_compute_ms is None else f"{counted.average_compute_ms:.3f}",
        "-" if counted.average_queue_ms is None else f"{counted.average_queue_ms:.3f}",
    )
