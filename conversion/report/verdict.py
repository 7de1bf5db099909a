"""What a release comes to, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pages.figures import number, percent, rows

from ..proof.accuracy import AGREEMENT

__all__ = ["verdict", "wins"]


def wins(evidence: Mapping[str, Any]) -> bool:
    """Whether the twin is faster than the original anywhere."""
    return bool(evidence["search"]["wins"])


def verdict(evidence: Mapping[str, Any]) -> str:
    """How fast the twin is beside the original and what it loses, or that the original plays."""
    ratios = {size: found["ratio"] for size, found in evidence["speed"]["batches"].items()}
    loss = _loss(evidence["accuracy"])
    if not ratios:
        return f"The twin matches the original; its speed was not measured, and {loss}."
    if not wins(evidence):
        first = evidence["prefer"]
        plays = ": the original plays" if first == "original" else f"; asked first: {first}"
        return f"No candidate wins{plays}. The best twin is {_fast(ratios)}; {loss}."
    faster = {size: ratio for size, ratio in ratios.items() if ratio > 1}
    slower = {size: ratio for size, ratio in ratios.items() if ratio <= 1}
    but = f", but {_fast(slower)}" if slower else ""
    return f"The twin is {_fast(faster)}{but}; {loss}."


def _fast(ratios: Mapping[str, float]) -> str:
    """'4.2 times as fast as the original at 1 row, 6.4 at 10 rows and 14.2 at 100 rows'."""
    first, *others = [(number(float(ratio)), rows(size)) for size, ratio in ratios.items()]
    told = [f"{first[0]} times as fast as the original at {first[1]}", *(f"{f} at {size}" for f, size in others)]
    return " and ".join(filter(None, (", ".join(told[:-1]), told[-1])))


def _loss(accuracy: Mapping[str, Any] | None) -> str:
    if accuracy is None:
        return "its accuracy was not measured"
    items = f"{number(accuracy['items'])} items"
    if accuracy["metric"] == AGREEMENT:
        return f"it agrees with the original on {percent(accuracy['twin'])} of {items}"
    change = "gains" if accuracy["loss"] < 0 else "loses"
    size = percent(abs(accuracy["loss"])) if accuracy["loss"] else "nothing"
    return f"it {change} {size} of {accuracy['metric']} on {items}"
