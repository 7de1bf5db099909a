"""`preflight`: would a Triton release serve what is published?"""

from __future__ import annotations

import argparse

from ..preflight.environments import Environments
from ..preflight.table import preflight, table
from ..publishing.repository import Repository
from ..targets import require_targets
from .shared import Commands, add_command, progress, say, show, with_build, with_progress, with_repository

__all__ = ["add", "environments_of", "tell_missing"]


def add(commands: Commands) -> None:
    """Add the command."""
    text = "check served releases against Triton releases and their ONNX Runtime"
    added = add_command(commands, "preflight", _preflight, text)
    added.add_argument("names", nargs="*", metavar="name", help="public names of models (all)")
    added.add_argument("--target", nargs="+", action="extend", default=[], help="Triton releases (its own)")
    with_repository(added)
    with_build(added)
    with_progress(added)


def _preflight(arguments: argparse.Namespace) -> int:
    require_targets(arguments.target)
    environments = environments_of(arguments)
    report = progress("preflight", arguments)
    rows, errors = preflight(Repository(arguments.repository), arguments.names, arguments.target, environments, report)
    show(table(rows))
    tell_missing(environments)
    failures = [*errors, *(row.failure for row in rows if row.failure)]
    for failure in failures:
        say(f"error: {failure}")
    return failures[0].exit_code if failures else 0


def environments_of(arguments: argparse.Namespace) -> Environments:
    """The environments of other ONNX Runtimes."""
    return Environments(arguments.build.resolve() / "preflight")


def tell_missing(environments: Environments | None) -> None:
    """Say which ONNX Runtimes could not be had."""
    for missing in environments.missing.values() if environments else ():
        say(f"note: {missing}")
