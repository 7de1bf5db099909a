"""`report`: what is served of every model, as one page."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..publishing.repository import Repository
from ..report.overview import write_overview
from .shared import Commands, add_command, note, show, with_repository

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command."""
    text = "write one HTML page on the served release of every model"
    added = add_command(commands, "report", _report, text)
    with_repository(added)
    added.add_argument("--bench", type=Path, default=Path("build/bench.json"), help="what bench wrote (%(default)s)")
    added.add_argument("--output", type=Path, default=Path("build/report.html"), help="where to write (%(default)s)")


def _report(arguments: argparse.Namespace) -> int:
    for problem in write_overview(Repository(arguments.repository), arguments.output, arguments.bench):
        note(problem)
    show(arguments.output)
    return 0
