"""The hybrid beside everything else that as many users asked in the same run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loadtests.rivals import RIVALS

__all__ = ["beside_rivals", "ratios"]

_HYBRID = "HybridGrpc"


def ratios(stages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each number of users and each other kind: the hybrid's answers a second and its p99, over the other's.

    Stages in which something was killed are left out, and kinds without an answer, or with a wrong one.
    """
    found = []
    quiet = [stage for stage in stages if not stage["fault"] and stage["answers"] and not stage["wrong"]]
    for hybrid in (stage for stage in quiet if stage["kind"] == _HYBRID):
        for other in quiet:
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
