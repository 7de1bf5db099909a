"""build/load.json as a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadtests.load.ratios import beside_rivals
from loadtests.load.slo import BROKEN, KEPT, asks_hybrid
from loadtests.rivals import FASTAPI, IN_PROCESS
from pages.page import render

from .plots import KINDS, answers_plot, curve_plot, memory_plot, waiting_plot

__all__ = ["load_page"]

_RIVALS = {
    FASTAPI: "FastAPI serves it by hand and without batching.",
    IN_PROCESS: "ONNX Runtime alone runs in the process that asks, which no server can be faster than.",
}


def load_page(found: Mapping[str, Any]) -> str:
    """The whole page. `found` is the content of build/load.json; every figure on the page is in it."""
    stages = [stage for stage in found["stages"] if not stage["fault"]]
    killed = next((stage for stage in found["stages"] if stage["fault"]), None)
    hybrids = list(filter(asks_hybrid, stages))
    busiest = max(hybrids or stages, key=lambda stage: int(stage["users"]))
    model, rivals = found["model"], beside_rivals(found["ratios"])
    throughput, latency = "Answers a second over the number of users", "99 of 100 answers came within this time"
    return render(
        __package__,
        "load.html",
        found=found,
        verdict=_verdict(found),
        stages=found["stages"],
        killed=killed,
        killed_plot=answers_plot(killed) if killed else None,
        rivals=rivals,
        rival_lines=[line for kind, line in _RIVALS.items() if any(one["to"] == kind for one in rivals)],
        kinds={kind: name for kind, (name, _) in KINDS.items()},
        busiest=busiest,
        throughput_plot=curve_plot(stages, "answers_per_second", "a second", throughput),
        median_plot=curve_plot(stages, "p50_ms", "ms", "Half of the answers came within this time", logarithmic=True),
        latency_plot=curve_plot(stages, "p99_ms", "ms", latency, logarithmic=True),
        waiting_plot=waiting_plot(stages, f"{model}_onnx"),
        answers_plot=answers_plot(busiest),
        memory_plot=memory_plot(busiest),
    )


def _verdict(found: Mapping[str, Any]) -> str:
    if found["verdict"] == BROKEN:
        count = len(found["broken"])
        return "A promise is broken." if count == 1 else f"{count} promises are broken."
    if found["verdict"] == KEPT:
        return "Every promise was kept until then." if found["unfinished"] else "Every promise is kept."
    return "Whether promises are kept is not known: the hybrid was not asked."
