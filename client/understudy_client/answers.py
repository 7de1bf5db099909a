"""Who answered a hybrid's callers, from the metrics that it keeps on its server's own endpoint."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from .errors import DeadlineExceeded, ServerError, ServerUnavailable
from .http_connections import Connections
from .http_messages import Request
from .settings import Connection
from .statuses import http_error
from .steps import Deadline

__all__ = ["Answers", "answers_of", "read_answers"]

_OK, _INVALID, _PREFERRED = "ok", "invalid", "preferred"


@dataclass(frozen=True)
class Answers:
    """What came of the requests to one hybrid, all its processes since their start together.

    ``answered`` counts requests by the twin that answered, or "both" where rows differ; ``refused`` those that were
    answered by an error, by outcome, of which "invalid" are their callers' own mistakes. ``fallbacks`` counts requests
    that the twin answered which was not asked first, by what was wrong with the other: "late", "gone", "open" and so
    on. ``call_ms`` is each twin's mean time of a call, its queue included, in milliseconds.
    """

    answered: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    fallbacks: Mapping[str, int] = field(default_factory=dict)
    call_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def success_rate(self) -> float | None:
        """The share, 0 to 1, of valid requests that were answered; None where there were none."""
        answered = sum(self.answered.values())
        failed = sum(count for outcome, count in self.refused.items() if outcome != _INVALID)
        return answered / (answered + failed) if answered + failed else None

    def lines(self) -> list[str]:
        """Return what it comes to, for people."""
        if not self.answered and not self.refused:
            return ["callers: none yet, or the hybrid is not loaded"]
        rate = "-" if self.success_rate is None else f"{self.success_rate:.2%}"
        told = [f"callers: answered by {_listed(self.answered)}; refused: {_listed(self.refused)}; success {rate}"]
        if self.fallbacks:
            told.append(f"fallbacks, by what was wrong: {_listed(self.fallbacks)}")
        if self.call_ms:
            told.append("mean time of a call: " + ", ".join(f"{twin} {ms:.3f} ms" for twin, ms in self.call_ms.items()))
        return told


def read_answers(address: str, model: str, deadline: Deadline) -> Answers:
    """Read the metrics at ``address``, which `metrics_address` has checked, once, in what is left of ``deadline``.

    Raises `DeadlineExceeded`, `ServerUnavailable`, `ConnectionLost` or `ServerError`.
    """
    where, remaining = f"reading the metrics at {address}", deadline.remaining()
    if remaining <= 0:
        raise DeadlineExceeded(where, "its time was up before it was sent", deadline.seconds)
    host, _, port = address.rpartition(":")
    connections = Connections(Connection("http", host, int(port)))
    try:
        response = connections.exchange(Request("GET", "/metrics"), remaining, where)
    except DeadlineExceeded as error:
        raise DeadlineExceeded(where, error.detail, deadline.seconds) from error
    finally:
        connections.close()
    if response.status != 200:
        refused = http_error(response.status, where, "")
        if isinstance(refused, ServerUnavailable):
            raise refused
        raise ServerError(where, f"what is there are no metrics but HTTP status {response.status}")
    try:
        return answers_of(response.body.decode(), model)
    except (ValueError, KeyError, OverflowError) as error:
        raise ServerError(where, f"what is there are no metrics of a hybrid ({error!r})") from error


def answers_of(page: str, model: str) -> Answers:
    """Pick one hybrid's answers out of a page in Prometheus's text format.

    Raises ValueError for another page, KeyError or OverflowError for metrics that have no more than the hybrid's names.
    """
    answered: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    fallbacks: Counter[str] = Counter()
    seconds: defaultdict[str, float] = defaultdict(float)
    calls: Counter[str] = Counter()
    for sample in _samples(page, model):
        labels, amount = sample.labels, int(sample.value)
        # The parser calls counters as OpenMetrics does, whatever the page calls them.
        name = sample.name.removesuffix("_total")
        if name == "ml_inference" and labels["status"] == _OK:
            answered[labels["backend"]] += amount
        elif name == "ml_inference":
            refused[labels["status"]] += amount
        elif name == "ml_backend_selected" and labels["reason"] != _PREFERRED:
            fallbacks[labels["reason"]] += amount
        elif name == "ml_inference_duration_seconds_sum":
            seconds[labels["backend"]] += sample.value
        elif name == "ml_inference_duration_seconds_count":
            calls[labels["backend"]] += amount
    call_ms = {twin: seconds[twin] / count * 1e3 for twin, count in sorted(calls.items()) if count}
    return Answers(dict(answered), dict(refused), dict(fallbacks), call_ms)


def _samples(page: str, model: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(page):
        if family.name.startswith("ml_"):
            yield from (sample for sample in family.samples if sample.labels.get("model") == model)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
