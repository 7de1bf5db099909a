"""`bench`: published twins against their originals, measured anew."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..errors import ConversionError
from ..measuring.bench_table import bench, table, write
from ..profiles import PROFILES
from ..publishing.repository import Repository
from ..spec.reader import read_spec
from .shared import (
    Commands,
    add_command,
    fail,
    folders,
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
    text = "measure published twins against their originals anew, on this machine"
    added = add_command(commands, "bench", _bench, text)
    with_folders(added)
    with_repository(added)
    with_build(added)
    with_progress(added)
    added.add_argument("--batch-sizes", nargs="+", type=int, default=[], help="batch sizes (those of the model's spec)")
    added.add_argument("--profile", choices=PROFILES, default="cpu", help="where both run (%(default)s)")
    added.add_argument("--output", type=Path, default=Path("build/bench.json"), help="where to write (%(default)s)")


def _bench(arguments: argparse.Namespace) -> int:
    chosen = folders(arguments)
    entries: dict[str, dict[str, Any]] = {}
    first = 0 if chosen else 2
    for folder in chosen:
        name = folder.resolve().name
        try:
            spec = read_spec(folder)
            if not spec.serving.max_batch_size and (others := [size for size in arguments.batch_sizes if size != 1]):
                note(f"{spec.name} has no batch dimension: it is measured at 1, not at {', '.join(map(str, others))}")
            entries[spec.name] = bench(
                spec,
                Repository(arguments.repository.resolve()),
                build_folder=arguments.build.resolve(),
                sizes=arguments.batch_sizes,
                profile=arguments.profile,
                report=progress(spec.name, arguments),
            )
        # One that fails must not cost what was measured of the others.
        except (ConversionError, OSError) as error:
            code = fail(error, f"{name} was not measured: ")
            first = first or code
            continue
        # After each: whoever interrupts the next one keeps it.
        write(entries, arguments.output, arguments.profile, ["python", "-m", "conversion", *sys.argv[1:]])
    if entries:
        show(table(entries))
    return first
