"""The report of one release: its evidence as one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pages.page import render

from ..arrangements.arrangement import in_words
from ..errors import PublishError
from .candidates import by_fate, timed
from .plots import loss_plot, memory_plot, share_bar, speed_plot
from .scatter import loss_scatters, tolerance_scatters
from .verdict import verdict, wins

__all__ = ["REPORT", "release_report", "require_schema"]

REPORT = "report.html"
SCHEMA = 2
# The cases that are shown without being asked for.
_WORST_CASES = 8


def release_report(evidence: Mapping[str, Any]) -> str:
    """A page that needs nothing but a browser, and tells no figure that `evidence` does not hold.

    Raises PublishError where the evidence is of a schema that no report is made of.
    """
    require_schema(evidence)
    speed, accuracy = evidence["speed"]["batches"], evidence["accuracy"]
    fates = by_fate(evidence["search"])
    raced = timed(fates)
    limit = next((e.facts["accuracy"]["max_loss"] for e in raced if e.facts["accuracy"] is not None), None)
    comparisons = sorted(evidence["parity"]["comparisons"], key=lambda found: -(found["worst"] or 0.0))
    return render(
        __package__,
        "release.html",
        evidence=evidence,
        verdict=verdict(evidence),
        wins=wins(evidence),
        chosen=next((c for c in evidence["search"]["candidates"] if c["fate"] == "chosen"), None),
        fates=fates,
        used=max((worst["worst"] for worst in evidence["parity"]["worst"].values()), default=None),
        comparisons=comparisons,
        worst_cases=comparisons[:_WORST_CASES],
        speed_plot=speed_plot(speed) if speed else None,
        loss_plot=loss_plot(accuracy) if accuracy else None,
        memory_plot=memory_plot(evidence["memory"]),
        share_bar=share_bar,
        in_words=in_words,
        tolerance_scatters=tolerance_scatters(raced, speed),
        loss_scatters=loss_scatters(raced, speed, limit),
    )


def require_schema(evidence: Mapping[str, Any]) -> None:
    """Raises PublishError where no report can be made of the evidence."""
    if evidence.get("schema") != SCHEMA:
        raise PublishError(
            f"the evidence of {evidence.get('name')} is of schema {evidence.get('schema')}, and reports are made of "
            f"schema {SCHEMA}; publish the model again with convert --force"
        )
