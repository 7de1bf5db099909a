"""`prune`: old releases, and those in quarantine, are let go."""

from __future__ import annotations

import argparse

from ..errors import PublishError
from ..publishing.prune import prune
from ..publishing.repository import Repository
from .live_server import live_of, with_server
from .shared import Commands, add_command, note, show, with_repository

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command."""
    text = "remove old releases: never the served one, nor one that the running server has loaded"
    added = add_command(commands, "prune", _prune, text)
    added.add_argument("name", help="the model's public name")
    added.add_argument("--keep", type=_count, default=3, metavar="N", help="how many of the newest stay (%(default)s)")
    with_repository(added)
    with_server(added, rehearsal=False)


def _prune(arguments: argparse.Namespace) -> int:
    repository = Repository(arguments.repository)
    name = arguments.name
    with repository.locked():
        live = live_of(arguments, note)
        for sentence in repository.repair(name, live):
            note(sentence)
        if not repository.releases(name) and not repository.quarantine.releases(name):
            raise PublishError(f"{arguments.repository} holds no release of '{name}'; publish it with convert")
        pruned = prune(repository, name, arguments.keep, live)
    show(f"{name}: removed {_listed(pruned.removed)}, kept {_listed(pruned.kept)}")
    if pruned.quarantine_removed or pruned.quarantine_kept:
        quarantined = f"removed {_listed(pruned.quarantine_removed)}, kept {_listed(pruned.quarantine_kept)}"
        show(f"  in quarantine: {quarantined}")
    return 0


def _listed(versions: tuple[int, ...]) -> str:
    return ", ".join(map(str, versions)) or "none"


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1, not '{text}'")
    return int(text)
