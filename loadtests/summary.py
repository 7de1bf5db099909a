"""What Locust's statistics say, as plain figures: answers by who gave them, what was refused, what failed, how fast."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from loadtests.figures import percentile as nearest_rank

# How the lines of the statistics end, after the model's name.
BY, REFUSED, FAILED = " by ", " refused", " failed"


def summary_of(stats: Any) -> dict[str, Any]:
    """The figures of a `locust.stats.RequestStats`.

    Times are in milliseconds and those of answers alone, refusals have their own. Locust keeps whole milliseconds, and
    two digits of what is longer than a hundred, but the slowest to the full: no percentile is told above it.
    They count from the moment when all users were there until the last answer, in seconds since the epoch. `by_second`
    has, for each of those seconds, answers by twin.
    """
    entries = list(stats.entries.values())
    answered = [each for each in entries if not each.name.endswith((REFUSED, FAILED))]
    times: Counter[int] = sum((Counter(each.response_times) for each in answered), Counter())
    refused = [each for each in entries if each.name.endswith(REFUSED)]
    started, last = stats.total.start_time, stats.total.last_request_timestamp
    seconds = max(last - started, 1e-3) if last is not None else 0.0
    count = times.total()
    slowest: float | None = max((each.max_response_time for each in answered), default=None)
    found = {f"p{round(part * 100)}_ms": percentile(times, part) for part in (0.5, 0.95, 0.99)}
    return {
        "answers": count,
        "refused": sum(each.num_requests for each in refused),
        "failed": sum(each.num_requests for each in entries if each.name.endswith(FAILED)),
        "wrong": sum(each.num_failures for each in answered),
        "served_by": {by: sum(e.num_requests for e in answered if _by(e.name) == by) for by in _twins(answered)},
        "counted_from": started,
        "counted_until": last,
        "seconds": seconds,
        "answers_per_second": count / seconds if seconds else 0.0,
        **{name: min(value, slowest) if value and slowest else value for name, value in found.items()},
        "slowest_ms": slowest,
        "refused_p50_ms": percentile(sum((Counter(e.response_times) for e in refused), Counter()), 0.5),
        "errors": [
            {"of": error.name, "said": str(error.error), "times": error.occurrences} for error in stats.errors.values()
        ],
        "by_second": {by: _by_second([e for e in answered if _by(e.name) == by]) for by in _twins(answered)},
    }


def uncounted(exceptions: Mapping[Any, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What a runner of Locust tells of requests that ended in an exception of their user: no statistics have them."""
    return [{"said": one["msg"], "times": one["count"]} for one in exceptions.values()]


def percentile(times: Counter[int], part: float) -> float | None:
    """The time that so large a part of the answers did not exceed; None where there are none."""
    return float(nearest_rank(list(times.elements()), part)) if times else None


def _by_second(entries: list[Any]) -> dict[str, int]:
    counted: Counter[int] = sum((Counter(each.num_reqs_per_sec) for each in entries), Counter())
    return {str(second): counted[second] for second in sorted(counted)}


def _by(name: str) -> str:
    return name.rpartition(BY)[2] if BY in name else ""


def _twins(entries: list[Any]) -> list[str]:
    return sorted({_by(each.name) for each in entries})
