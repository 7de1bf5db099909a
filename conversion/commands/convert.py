"""`convert`: bring the repository to a release of each model."""

from __future__ import annotations

import argparse
import functools
from typing import Any

from ..arrangements.arrangement import in_words
from ..errors import ConversionError
from ..pipeline import Outcome, convert
from ..profiles import PROFILES
from ..publishing.repository import Repository
from ..spec import LEVELS
from ..spec.reader import read_spec
from ..targets import require_targets
from .live_server import live_of, machine_of, tell_files_only, with_server
from .preflight import environments_of, tell_missing
from .shared import (
    Commands,
    add_command,
    fail,
    folders,
    interrupted,
    note,
    progress,
    show,
    with_build,
    with_folders,
    with_progress,
    with_repository,
)

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command."""
    added = add_command(commands, "convert", _convert, "convert models and publish what has changed")
    with_folders(added)
    with_repository(added)
    with_server(added)
    with_build(added)
    with_progress(added)
    added.add_argument("--target", help="the Triton release to publish for (that of model.toml)")
    added.add_argument("--preflight", action="store_true", help="load the graph in the target's ONNX Runtime first")
    added.add_argument("--search", choices=LEVELS, help="how much is tried: off, fast or full (that of model.toml)")
    added.add_argument(
        "--profile", choices=PROFILES, help="where candidates are raced: cpu or gpu (that of model.toml)"
    )
    added.add_argument("--force", action="store_true", help="convert even where nothing has changed")
    added.add_argument("--new-interface", action="store_true", help="accept a release that breaks callers")


def _convert(arguments: argparse.Namespace) -> int:
    require_targets([arguments.target] if arguments.target else [])
    chosen = folders(arguments)
    if not chosen:
        return 2
    repository = Repository(arguments.repository)
    machine = machine_of(arguments)
    environments = environments_of(arguments) if arguments.preflight else None
    first = 0
    for folder in chosen:
        name = folder.resolve().name
        try:
            outcome = convert(
                read_spec(folder, arguments.target, arguments.search, arguments.profile),
                repository,
                build_folder=arguments.build.resolve(),
                report=progress(name, arguments),
                force=arguments.force,
                find_live=functools.partial(live_of, arguments, note),
                new_interface=arguments.new_interface,
                environments=environments,
                machine=machine,
            )
        except (ConversionError, OSError) as error:
            code = fail(error, f"{name} was not published: ")
            if interrupted(error):
                return code
            first = first or code
            continue
        show(_told(outcome))
        if not outcome.unchanged:
            tell_files_only(arguments, outcome.live)
    tell_missing(environments)
    return first


def _told(outcome: Outcome) -> str:
    evidence = outcome.evidence
    if outcome.unchanged:
        serving = "" if outcome.served == outcome.version else f", release {outcome.served} is served"
        return f"{outcome.name}: unchanged, release {outcome.version} holds it{serving}"
    worst = ", ".join(f"{name} {figures['max_abs']:.2g}" for name, figures in evidence["parity"]["worst"].items())
    lines = [
        f"{outcome.name}: release {outcome.version} published ({evidence['search']['chosen']}); "
        f"worst difference: {worst}"
    ]
    for size, found in evidence["speed"]["batches"].items():
        low, high = found["ratio_quartiles"]
        lines.append(
            f"  {size:>4} rows: original {found['original_ms']:.3g} ms, twin {found['twin_ms']:.3g} ms: "
            f"{found['ratio']:.2f} times as fast (quartiles {low:.2f} to {high:.2f})"
        )
    accuracy = evidence["accuracy"]
    if accuracy is not None:
        low, high = accuracy["interval"]
        lines.append(
            f"  {accuracy['metric']}: original {accuracy['original']:.2%}, twin {accuracy['twin']:.2%}, loss "
            f"{accuracy['loss']:.2%} (95 % interval {low:.2%} to {high:.2%}, {accuracy['items']} items)"
        )
    lines.append(f"  served with {_served(evidence['serving'])}")
    if not evidence["search"]["wins"]:
        lines.append("  no candidate is faster than the original")
    if evidence["prefer"] != "onnx":
        lines.append(f"  asked first: {evidence['prefer']}")
    return "\n".join(lines)


def _served(serving: dict[str, Any]) -> str:
    found = in_words(serving)
    if serving["how"] == "spec":
        return f"{found}: as model.toml says"
    if serving["how"] == "tuned":
        return f"{found}: as `tune` found"
    if serving["how"] == "default":
        return f"{found}: not measured, {serving['reason']}"
    tried = serving["arrangements"]
    safe = next(one for one in tried if not one["failure"])
    if in_words(safe) == found:
        return f"{found}: measured, no other of {len(tried)} is clearly better"
    return f"{found}: measured best of {len(tried)}"
