"""Tune one published model: walk from what is served to what is best, then prove the gain in a run of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..arrangements.arrangement import Arrangement, default_arrangement
from ..arrangements.choice import MARGIN
from ..arrangements.settling import Machine
from ..errors import NothingServed
from ..interface import facts_of
from ..publishing.repository import Repository
from ..release.evidence import EVIDENCE, evidence_at, machine, precision_of
from ..release.gpu_config import Traits
from ..spec import ModelSpec
from ..spec.serving import TunedSpec
from .run import Run, best_level, gains, spread
from .trial import Load, Subject, Trial
from .walk import Room, walk

__all__ = ["Wanted", "section_of", "tune"]

_FINAL_ROUNDS = 7


@dataclass(frozen=True)
class Wanted:
    """The limit on the 99th percentile of what callers wait, in milliseconds, and the load that it is to hold under."""

    p99_ms: float
    load: Load


def tune(
    spec: ModelSpec,
    repository: Repository,
    wanted: Wanted,
    where: Machine,
    *,
    work: Path,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Everything that was measured, as build/tune/NAME.json has it.

    `spec` is what model.toml says without its tuning; `work` is a folder for this alone, gone afterwards.

    Raises NothingServed, RehearsalImpossible, ReleaseRefused.
    """
    version = repository.served(spec.name)
    if version is None:
        raise NothingServed(repository.root, spec.name)
    folders = {role: repository.release_folder(spec.name, role, version) for role in ("onnx", "hybrid")}
    with evidence_at(folders["hybrid"] / EVIDENCE) as evidence:
        inputs, outputs = (tuple(facts_of(fact) for fact in evidence[key]) for key in ("inputs", "outputs"))
        traits, served = Traits.of(precision_of(evidence), evidence["graph"]), Arrangement.of(evidence["serving"])
    subject = Subject(spec, folders["onnx"], folders["hybrid"], inputs, outputs, traits)
    default = default_arrangement(spec.serving)
    room = Room(where.cores, spec.serving.max_batch_size, spec.serving)
    trial = Trial(subject, wanted.load, where, work, report)
    try:
        best, steps = served, []
        for step in walk(room.nearest(served), room, wanted.p99_ms, trial.measure, trial.fits):
            best = step.best
            steps.append({"varied": step.varied, "runs": [_facts(run, wanted.p99_ms) for run in step.runs]})
        others = dict.fromkeys((best, served, default))
        final = {run.arrangement: run for run in trial.measure("the best, once more", list(others), _FINAL_ROUNDS)}
    finally:
        shutil.rmtree(work, ignore_errors=True)
    won = final[best]
    return {
        "name": spec.name,
        "release": version,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "p99_ms": wanted.p99_ms,
        "clients": list(wanted.load.clients),
        "margin": MARGIN,
        "runs": trial.runs,
        "steps": steps,
        "final": [_facts(run, wanted.p99_ms) for run in final.values()],
        "best": asdict(best),
        "served": asdict(served),
        "default": asdict(default),
        "within": best_level(won, wanted.p99_ms) is not None,
        "gain": spread(gains(won, final[served], wanted.p99_ms)),
        "gain_over_default": spread(gains(won, final[default], wanted.p99_ms)),
    }


def section_of(found: Mapping[str, Any]) -> TunedSpec | None:
    """What is to be written into model.toml; None where nothing is better than what is served, or keeps the limit."""
    gain = found["gain"]
    if found["best"] == found["served"] or not found["within"]:
        return None
    # Where what is served keeps the limit nowhere, there is nothing to compare with.
    if gain is not None and gain["median"] <= 1 + found["margin"]:
        return None
    best = found["best"]
    return TunedSpec(
        instances=best["instances"],
        threads=best["threads"],
        dynamic_batching=best["dynamic_batching"],
        max_joined_rows=best["joined_rows"],
        max_queue_delay_microseconds=best["queue_delay_us"],
        split_rows=best["split_rows"],
        hybrid_instances=best["hybrid_instances"],
        p99_ms=float(found["p99_ms"]),
        gain=float(gain["median"] if gain else 0.0),
    )


def _facts(run: Run, p99_ms: float) -> dict[str, Any]:
    level = best_level(run, p99_ms)
    return {
        **asdict(run.arrangement),
        "levels": [asdict(one) for one in run.levels],
        "best_clients": None if level is None else level.clients,
        "failure": run.failure,
    }
