"""What Triton itself counted while a load ran: batches that it formed, time in queues, time of computing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from loadtests import direct

_TIMEOUT_S = 10.0
_PREFIX = "nv_inference_"
# Of a model: rows, executions, requests, and microseconds of all requests together.
_COUNTED = ("count", "exec_count", "request_success", "queue_duration_us", "compute_infer_duration_us")

Counters = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Formed:
    """One model during a load: requests, rows an execution, milliseconds in the queue and of computing a request."""

    requests: int
    rows_an_execution: float | None
    queue_ms: float | None
    compute_ms: float | None


def read_counters(metrics_url: str) -> Counters:
    """The counters of each model, all versions together. Raises OSError where the metrics cannot be read."""
    text = direct.read(f"http://{metrics_url}/metrics", _TIMEOUT_S).decode()
    found: Counters = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removeprefix(_PREFIX).removesuffix("_total")
            if sample.name.startswith(_PREFIX) and name in _COUNTED and "model" in sample.labels:
                counted = found.setdefault(sample.labels["model"], dict.fromkeys(_COUNTED, 0.0))
                counted[name] += sample.value
    return found


def formed(before: Counters, after: Counters, anew: Collection[str] = ()) -> dict[str, Formed]:
    """What each model that was asked did between two readings.

    Triton counts from 0 again where a model is loaded anew: of those in `anew`, and of what fell, nothing is known.
    """
    result = {}
    for model, counted in after.items():
        grown = {name: value - before.get(model, {}).get(name, 0.0) for name, value in counted.items()}
        if model not in anew and grown["request_success"] > 0 and min(grown.values()) >= 0:
            result[model] = _formed(grown)
    return result


def _formed(grown: dict[str, Any]) -> Formed:
    requests = grown["request_success"]
    return Formed(
        requests=int(requests),
        rows_an_execution=grown["count"] / grown["exec_count"] if grown["exec_count"] else None,
        queue_ms=grown["queue_duration_us"] / requests / 1e3,
        compute_ms=grown["compute_infer_duration_us"] / requests / 1e3,
    )
