"""`make bench`: each published twin against its original, one process a model, as a table and as build/bench.json."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import NothingServed
from ..profiles import profile_for
from ..publishing.repository import Repository
from ..release.evidence import EVIDENCE, evidence_at, machine, precision_of, speeds
from ..spec import ModelSpec
from ..worker import Task, run_worker

__all__ = ["bench", "table", "write"]


def bench(
    spec: ModelSpec,
    repository: Repository,
    *,
    build_folder: Path,
    sizes: Sequence[int],
    profile: str,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Measure the served release of `spec`; gives its entry of bench.json. Raises a subclass of ConversionError.

    Without a batch dimension there is one size, whatever `sizes` says: a call is one sample.
    """
    version = repository.served(spec.name)
    if version is None:
        raise NothingServed(repository.root, spec.name)
    with evidence_at(repository.release_folder(spec.name, "hybrid", version) / EVIDENCE) as evidence:
        chosen = evidence["search"]["chosen"]
        proved = {"precision": precision_of(evidence), "operators": tuple(evidence["graph"]["operators"])}
    more = {
        "original": repository.release_folder(spec.name, "original", version),
        "twin": repository.release_folder(spec.name, "onnx", version) / "model.onnx",
        "sizes": tuple(sizes) if sizes and spec.serving.max_batch_size else spec.timed_sizes,
        "profile": profile,
        **proved,
    }
    build_folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build_folder) as work:
        log = build_folder / "logs" / f"bench-{spec.name}.log"
        gpu = profile_for(profile, spec.serving.gpu).gpu is not None
        found = run_worker(Task("bench", "measure", spec, more, gpu=gpu), Path(work), log, report)
    return {"release": version, "twin": chosen, **_entry(found)}


def write(entries: Mapping[str, Mapping[str, Any]], path: Path, profile: str, command: Sequence[str]) -> None:
    """Write bench.json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "profile": profile,
        "command": list(command),
        "models": entries,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def table(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """What a person reads: a line for each model and batch size, and what each model takes and loses."""
    lines = [f"{'model':<20} {'rows':>5} {'original ms':>12} {'twin ms':>10} {'ratio':>7}   quartiles"]
    for name, entry in entries.items():
        for size, found in entry["batches"].items():
            low, high = found["ratio_quartiles"]
            lines.append(
                f"{name:<20} {size:>5} {found['original_ms']:>12.2f} {found['twin_ms']:>10.2f} {found['ratio']:>7.2f}"
                f"   {low:.2f} to {high:.2f}"
            )
    for name, entry in entries.items():
        lines.append(
            f"{name}: release {entry['release']}, {entry['twin']} on {_where(entry)}; memory: original "
            f"{entry['original_rss_mb']:.0f} MB, twin {entry['twin_rss_mb']:.0f} MB"
        )
        if entry["metric"] is not None:
            low, high = entry["accuracy_interval"]
            lines.append(
                f"{'':<{len(name)}}  {entry['metric']}: original {entry['accuracy_original']:.2%}, twin "
                f"{entry['accuracy_twin']:.2%}, loss {entry['accuracy_loss']:.2%} (95 % interval {low:.2%} to "
                f"{high:.2%}, {entry['items']} items)"
            )
    return "\n".join(lines)


def _where(entry: Mapping[str, Any]) -> str:
    """The provider; where there are several, what each took of the graph: nothing runs elsewhere unseen."""
    if not entry["nodes"]:
        return str(entry["provider"])
    shares = ", ".join(f"{count} nodes on {name}" for name, count in entry["nodes"].items())
    precision = f" in {entry['precision']}" if entry["precision"] else ""
    return f"{entry['provider']}{precision} ({shares})"


def _entry(found: Mapping[str, Any]) -> dict[str, Any]:
    accuracy = found["accuracy"] or {}
    return {
        "provider": found["provider"],
        "precision": found["precision"],
        "nodes": found["nodes"],
        "threads": found["threads"],
        "batches": speeds(found["original"], found["twin"]),
        "original_rss_mb": found["memory"]["original"],
        "twin_rss_mb": found["memory"]["twin"],
        "metric": accuracy.get("metric"),
        "items": accuracy.get("items"),
        "accuracy_original": accuracy.get("original"),
        "accuracy_twin": accuracy.get("twin"),
        "accuracy_loss": accuracy.get("loss"),
        "accuracy_interval": accuracy.get("interval"),
    }
