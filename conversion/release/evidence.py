"""`evidence.json`: what a release is, what it was made from, and the proof that it matches (see docs/evidence.md)."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from python_backend.limits import available_cores

from ..errors import PublishError
from ..proof.stress import stress_tolerance
from ..spec import ModelSpec, ToleranceSpec
from ..spec.preference import at_best, in_words, preference
from ..targets import TARGETS
from .fingerprint import sha256_file, versions

__all__ = [
    "EVIDENCE",
    "evidence_at",
    "machine",
    "make_evidence",
    "precision_of",
    "read_evidence",
    "speeds",
    "tolerance_of",
]

EVIDENCE = "evidence.json"
SCHEMA = 2


def make_evidence(
    spec: ModelSpec,
    built: Mapping[str, Any],
    fingerprint: str,
    sources: Mapping[str, str],
    staged: Path,
    *,
    serving: Mapping[str, Any],
    loaded: bool = False,
) -> dict[str, Any]:
    """The evidence of the release that lies staged; checksums cover every file in it.

    `serving` is how it is served, the facts of `conversion.arrangements`.
    `loaded` is whether the graph was loaded in the target's ONNX Runtime before it was published.
    """
    return {
        "schema": SCHEMA,
        "name": spec.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": fingerprint,
        "source": {"format": spec.source.format, "sha256": dict(sources)},
        "versions": {"python": platform.python_version(), **versions(spec)},
        "machine": machine(),
        "target": {**_target(spec), "loaded": loaded},
        "inputs": built["inputs"],
        "outputs": built["outputs"],
        "graph": built["graph"],
        "search": _search(spec, built),
        "parity": _parity(spec, built),
        "accuracy": built["accuracy"],
        "speed": {"threads": spec.serving.original_threads, "batches": speeds(built["original"], built["timings"])},
        "memory": built["memory"],
        "serving": dict(serving),
        "prefer": in_words(preference(spec, at_best(built["timings"]))),
        "files": {
            path.relative_to(staged).as_posix(): sha256_file(path)
            for path in sorted(staged.rglob("*"))
            if path.is_file()
        },
    }


def machine(proc: Path = Path("/proc")) -> dict[str, Any]:
    """The processor and its cores, the architecture and the system; `gpus` are those of NVIDIA, if any."""
    lines = (proc / "cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cards = [
        path.read_text(encoding="utf-8", errors="replace")
        for path in sorted((proc / "driver/nvidia/gpus").glob("*/information"))
    ]
    gpus = [line.partition(":")[2].strip() for text in cards for line in text.splitlines() if line.startswith("Model:")]
    return {
        "processor": models[0] if models else platform.machine(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "usable_cores": available_cores(),
        "gpus": gpus,
    }


def _target(spec: ModelSpec) -> dict[str, Any]:
    target = TARGETS[spec.target]
    runtime = target.runtime
    return {
        "release": target.release,
        "python": target.python,
        "onnxruntime": runtime.version,
        "opset": runtime.opset,
        "ir": runtime.ir,
    }


def read_evidence(path: Path) -> dict[str, Any]:
    """Read an evidence.json. Raises PublishError where it is missing or broken."""
    try:
        evidence: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _broken(path, error) from error
    if not isinstance(evidence, dict):
        raise _broken(path, f"it holds a {type(evidence).__name__}, not an object")
    return evidence


@contextlib.contextmanager
def evidence_at(path: Path) -> Iterator[dict[str, Any]]:
    """Read an evidence.json and take parts of it within. Raises PublishError also where they are missing, or odd."""
    evidence = read_evidence(path)
    try:
        yield evidence
    except KeyError as error:
        raise _broken(path, f"it lacks {error}") from error
    except (TypeError, AttributeError, IndexError, ValueError) as error:
        raise _broken(path, error) from error


def _broken(path: Path, why: object) -> PublishError:
    return PublishError(f"{path} is missing or broken ({why}); publish the model again")


def speeds(original: Mapping[str, Any], twin: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Both side by side by batch size, out of the plain data of two `Timing`s each."""
    return {
        size: {
            "original_ms": original[size]["ms"],
            "original_range_ms": original[size]["range_ms"],
            "twin_ms": own["ms"],
            "twin_range_ms": own["range_ms"],
            **{key: own[key] for key in ("ratio", "ratio_quartiles", "rounds", "others")},
        }
        for size, own in twin.items()
    }


def tolerance_of(evidence: Mapping[str, Any]) -> ToleranceSpec:
    """The tolerance that the release was proved with."""
    parity = evidence["parity"]
    # Releases of schema 1 had no third part.
    return ToleranceSpec(parity["atol"], parity["rtol"], parity.get("of_largest", 0.0))


def precision_of(evidence: Mapping[str, Any]) -> str:
    """The precision of the twin."""
    # Releases from before there was a search on a GPU do not say it: to a GPU they are all full float32.
    return str(evidence["search"].get("precision", "fp32"))


def _search(spec: ModelSpec, built: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "level": spec.search.level,
        "profile": spec.search.profile,
        "objective": spec.search.objective,
        "batch_sizes": list(spec.timed_sizes),
        "threads": spec.serving.original_threads,
        "budget_s": spec.search.budget_s,
        "seconds": built["seconds"],
        "wins": any(timing["ratio"] > 1 for timing in built["timings"].values()),
        "chosen": built["chosen"]["name"],
        "precision": built["chosen"]["precision"],
        "candidates": built["trials"],
    }


def _parity(spec: ModelSpec, built: Mapping[str, Any]) -> dict[str, Any]:
    tolerance = spec.parity.tolerance(built["chosen"]["precision"])
    return {
        **asdict(tolerance),
        "stress": asdict(stress_tolerance(tolerance)),
        # Stress has rows of its own, and without a batch what is first in a shape is no number of rows.
        "batch_sizes": sorted(set(spec.batch_sizes)) if spec.serving.max_batch_size else [],
        "worst": built["chosen"]["parity"],
        "comparisons": built["parity"]["comparisons"],
        "unfit": built["unfit"],
    }
