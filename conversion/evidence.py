"""`evidence.json`: what a release is, what it was made from, and the proof that it matches (see docs/evidence.md)."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .errors import PublishError
from .fingerprint import sha256_file, versions
from .spec import ModelSpec
from .targets import TARGETS

__all__ = ["EVIDENCE", "make_evidence", "read_evidence"]

EVIDENCE = "evidence.json"
SCHEMA = 1


def make_evidence(
    spec: ModelSpec,
    built: Mapping[str, Any],
    fingerprint: str,
    sources: Mapping[str, str],
    staged: Path,
    *,
    loaded: bool = False,
) -> dict[str, Any]:
    """The evidence of the release that lies staged; checksums cover every file in it.

    `loaded` is whether the graph was loaded in the target's ONNX Runtime before it was published.
    """
    comparisons = built["parity"]["comparisons"]
    return {
        "schema": SCHEMA,
        "name": spec.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": fingerprint,
        "source": {"format": spec.source.format, "sha256": dict(sources)},
        "versions": {"python": platform.python_version(), **versions(spec)},
        "machine": {"architecture": platform.machine(), "system": platform.system(), "cores": os.cpu_count()},
        "target": {**_target(spec), "loaded": loaded},
        "inputs": built["inputs"],
        "outputs": built["outputs"],
        "export": {"exporter": built["exporter"], "failed": built["attempts"]},
        "passes": built["passes"],
        "graph": built["graph"],
        "parity": {
            "atol": spec.parity.atol,
            "rtol": spec.parity.rtol,
            "batch_sizes": sorted({c["rows"] for c in comparisons}),
            "worst": _worst(comparisons),
            "comparisons": comparisons,
        },
        "speed": {"batch": 1, **built["timing"]},
        "files": {
            path.relative_to(staged).as_posix(): sha256_file(path)
            for path in sorted(staged.rglob("*"))
            if path.is_file()
        },
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
        evidence: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise PublishError(f"{path} is missing or broken ({error}); publish the model again") from error
    return evidence


def _worst(comparisons: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """For each output the largest differences over all batches; `worst` is the share of the tolerance used."""
    outputs: dict[str, dict[str, float]] = {}
    for comparison in comparisons:
        worst = outputs.setdefault(comparison["output"], {"max_abs": 0.0, "max_rel": 0.0, "worst": 0.0})
        for key in worst:
            worst[key] = max(worst[key], comparison[key] or 0.0)
    return outputs
