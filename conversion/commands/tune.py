"""`tune`: how a published model is served best under a limit on what its callers wait."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pages.figures import cores

from ..arrangements.arrangement import in_words
from ..errors import SpecError
from ..publishing.repository import Repository
from ..spec.reader import SPEC_FILE, read_spec
from ..spec.serving import TunedSpec
from ..tuning.page import tuned_page
from ..tuning.section import section, write_section
from ..tuning.trial import Load
from ..tuning.tune import Wanted, section_of, tune
from .live_server import here
from .shared import (
    Commands,
    add_command,
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
    text = "find how a published model is served best under a limit on its callers' waiting, and write it to model.toml"
    added = add_command(commands, "tune", _tune, text)
    with_folders(added)
    with_repository(added)
    with_build(added)
    with_progress(added)
    added.add_argument(
        "--p99-ms", type=_positive, default=100.0, help="99 of 100 answers have to come within this (%(default)g)"
    )
    added.add_argument(
        "--clients", type=int, nargs="+", default=[1, 8, 32], metavar="N", help="so many ask at once (1 8 32)"
    )
    added.add_argument("--seconds", type=_positive, default=1.0, help="of each number of clients (%(default)g)")
    added.add_argument("--rounds", type=int, default=3, help="in which all ways take turns (%(default)d)")
    added.add_argument("--dry-run", action="store_true", help="leave model.toml as it is")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def _tune(arguments: argparse.Namespace) -> int:
    chosen = folders(arguments)
    load = Load(
        tuple(sorted({max(1, each) for each in arguments.clients})), arguments.seconds, max(1, arguments.rounds)
    )
    for folder in chosen:
        # What an earlier run wrote does not bind this one.
        spec = read_spec(folder, tuned=False)
        found = tune(
            spec,
            Repository(arguments.repository.resolve()),
            Wanted(arguments.p99_ms, load),
            here(),
            work=arguments.build.resolve() / "work" / f"tune-{spec.name}",
            report=progress(spec.name, arguments),
        )
        tuned = section_of(found)
        page = _write(found, arguments.build / "tune", tuned is not None)
        show(_told(found, tuned is not None, page))
        if tuned is not None and arguments.dry_run:
            note("model.toml was left as it is")
        elif tuned is not None:
            _write_section(folder, tuned, found)
            note(f"`make convert MODEL={folder}` publishes it")
    return 0 if chosen else 2


def _write_section(folder: Path, tuned: TunedSpec, found: Mapping[str, Any]) -> None:
    """Into model.toml; what cannot be written there is said. Raises SpecError, OSError."""
    path, on = folder if folder.suffix == ".toml" else folder / SPEC_FILE, found["machine"]
    told = cores(on["cores"], on["usable_cores"])
    comment = f"by `make tune`, {found['date'][:10]}, {on['processor']}, {told}"
    try:
        write_section(path, tuned, comment)
    except (SpecError, OSError):
        note(f"{path} was left as it is; what was to stand at its end:\n{section(tuned, comment)}")
        raise


def _write(found: Mapping[str, Any], folder: Path, better: bool) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{found['name']}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    page = folder / f"{found['name']}.html"
    page.write_text(tuned_page(found, better), encoding="utf-8")
    return page


def _told(found: Mapping[str, Any], better: bool, page: Path) -> str:
    best, limit = in_words(found["best"]), f"{found['p99_ms']:g} ms"
    gains, whose = {"what is served": found["gain"], "the default": found["gain_over_default"]}, ""
    if not found["within"]:
        first = f"{found['name']}: no way to serve it keeps p99 within {limit}; {best} comes nearest"
    elif better:
        first = f"{found['name']}: best served with {best}"
    else:
        first = f"{found['name']}: what is served is as good as any: {in_words(found['served'])}"
        if found["best"] == found["served"]:
            del gains["what is served"]
        else:
            whose = f"{best}: "
    lines = [first]
    for name, gain in gains.items():
        if gain:
            lines.append(
                f"  {whose}{gain['median']:.2f} times the answers a second of {name}"
                f" ({gain['low']:.2f} to {gain['high']:.2f}), p99 within {limit}"
            )
    lines.append(f"  {found['runs']} runs; all of them in {page}")
    return "\n".join(lines)
