"""What the hybrid has done, counted as it happens. Cheap to add to, and drained by whoever tells it on."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass

# Upper edges in seconds: from the fastest nets to the longest deadlines, each about twice the one before it.
EDGES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# A metric's name, and the values of its labels in the order that FAMILIES gives them.
Series = tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """One metric: what it tells, the labels of its series besides `model` and `process`, and whether it only grows."""

    help: str
    labels: tuple[str, ...] = ()
    grows: bool = True


FAMILIES = {
    "ml_inference_total": Family(
        "Requests answered, by the twin that answered (both where rows differ, none where neither) and the outcome",
        ("backend", "status"),
    ),
    "ml_backend_selected": Family(
        "Requests that a twin answered, in whole or for some rows, and why that twin", ("backend", "reason")
    ),
    "ml_inference_duration_seconds_bucket": Family(
        "Calls to a twin that took at most `le` seconds, its queue included", ("backend", "le")
    ),
    "ml_inference_duration_seconds_sum": Family("Seconds that calls to a twin took, its queue included", ("backend",)),
    "ml_inference_duration_seconds_count": Family("Calls to a twin that returned, rightly or not", ("backend",)),
    "ml_inference_failures_total": Family("Calls to a twin that gave no usable answer, by kind", ("backend", "kind")),
    "ml_deadline_missed_total": Family("Times that a twin did not answer within what it was given", ("backend",)),
    "ml_breaker_state": Family("0 closed, 1 half-open (one probe is out), 2 open", ("backend",), grows=False),
    "ml_breaker_opened_total": Family("Times that a twin's circuit breaker opened", ("backend",)),
    "ml_shadow_total": Family(
        "Answers sampled to be asked for again at the other twin, by result: agreed, differed, failed, dropped",
        ("result",),
    ),
    "ml_shadow_worst": Family(
        "Largest difference between the twins in a sample, over what is allowed: above 1 they differ",
        ("output",),
        grows=False,
    ),
    "ml_twin_quarantined": Family(
        "1 where the twin is asked no more until the model is loaded anew", ("backend",), grows=False
    ),
    "ml_pending_requests": Family("Requests taken on that have no answer yet", grows=False),
    "ml_fallbacks_in_flight": Family("Calls to the twin that was not asked first, under way now", grows=False),
    "ml_late_calls": Family("Threads that wait for calls nobody waits for any more", grows=False),
    "ml_told_timestamp_seconds": Family(
        "When the process last told of itself, each second: one that is gone does not, and its gauges are none",
        grows=False,
    ),
}


class Tally:
    """Sums since the last drain. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: defaultdict[Series, float] = defaultdict(float)
        self._calls: Counter[tuple[str, int]] = Counter()

    def add(self, *series: str, amount: float = 1) -> None:
        """Add to a series, named as in FAMILIES."""
        with self._lock:
            self._sums[series] += amount

    def took(self, backend: str, seconds: float) -> None:
        """One call to a twin has returned."""
        edge = bisect_left(EDGES, seconds)
        with self._lock:
            self._calls[backend, edge] += 1
            self._sums["ml_inference_duration_seconds_sum", backend] += seconds

    def drain(self) -> dict[Series, float]:
        """The sums, which begin anew. Buckets hold what is below their edge, as Prometheus wants them."""
        with self._lock:
            sums, self._sums = self._sums, defaultdict(float)
            calls, self._calls = self._calls, Counter()
        for backend in {backend for backend, _ in calls}:
            below = 0
            for place, edge in enumerate((*map(str, EDGES), "+Inf")):
                below += calls[backend, place]
                sums["ml_inference_duration_seconds_bucket", backend, edge] = below
            sums["ml_inference_duration_seconds_count", backend] = below
        return dict(sums)
