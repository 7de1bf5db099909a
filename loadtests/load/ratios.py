"""The hybrid beside everything else that as many users asked in the same run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loadtests.report.plots import KINDS, users_told
from loadtests.rivals import RIVALS

__all__ = ["beside_rivals", "not_compared", "ratios"]

_HYBRID = "HybridGrpc"
# Times and answers a second are those of answers alone: who turns most of its callers away would seem fast.
_UNANSWERED = ("refused", "failed", "wrong")


def ratios(stages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each number of users and each other kind: the hybrid's answers a second and its p99, over the other's.

    Stages in which something was killed are left out, and those in which not every request had a right answer.
    """
    found = []
    whole = [stage for stage in stages if not stage["fault"] and _answered_all(stage)]
    for hybrid in (stage for stage in whole if stage["kind"] == _HYBRID):
        for other in whole:
            if other["users"] == hybrid["users"] and other["kind"] != _HYBRID:
                found.append(
                    {
                        "users": hybrid["users"],
                        "to": other["kind"],
                        "answers_per_second": hybrid["answers_per_second"] / other["answers_per_second"],
                        "p99_ms": hybrid["p99_ms"] / max(other["p99_ms"], 1e-3),
                    }
                )
    return found


def beside_rivals(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of these ratios, those to what one would take instead."""
    return [one for one in found if one["to"] in RIVALS]


def not_compared(stages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of hybrid and rivals, who cannot be set beside the other since not every request had a right answer, in words."""
    quiet = [stage for stage in stages if not stage["fault"] and stage["kind"] in (_HYBRID, *RIVALS)]
    return [
        f"{users_told(stage)}: {KINDS[stage['kind']][0]} is left out of the comparison: {_unanswered(stage)}"
        for stage in quiet
        if not _answered_all(stage) and any(_are_beside(stage, other) for other in quiet)
    ]


def _answered_all(stage: Mapping[str, Any]) -> bool:
    return bool(stage["answers"]) and not any(stage[key] for key in _UNANSWERED)


def _are_beside(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one["users"] == other["users"]) and (one["kind"] == _HYBRID) != (other["kind"] == _HYBRID)


def _unanswered(stage: Mapping[str, Any]) -> str:
    asked = stage["answers"] + stage["refused"] + stage["failed"]
    became = ", ".join(f"{stage[key]} {key}" for key in _UNANSWERED if stage[key])
    return f"of {asked} requests, {became}" if became else "it answered nobody"
