"""`releases`, `rollback` and `verify`: what is in the repository, which of it is served, and whether it holds."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import PublishError, VerificationFailed
from ..publishing.repository import Repository
from ..publishing.verify import verify
from .live_server import live_of, tell_files_only, with_server
from .shared import Commands, add_command, note, progress, say, show, with_progress, with_repository

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the commands."""
    text = "list the releases of every model, and which one is served"
    added = add_command(commands, "releases", _releases, text)
    added.add_argument("name", nargs="?", help="one model (all)")
    with_repository(added)
    added = add_command(commands, "rollback", _rollback, "serve an earlier release again (or any other one)")
    added.add_argument("name", help="the model's public name")
    added.add_argument("--to", type=int, metavar="N", help="the release to serve (the one before the served one)")
    with_repository(added)
    with_server(added)
    text = "check that releases are what was published, and answer as they did"
    added = add_command(commands, "verify", _verify, text)
    added.add_argument("names", nargs="*", metavar="NAME", help="models (all)")
    with_repository(added)
    with_progress(added)
    added.add_argument("--skip-originals", action="store_true", help="replay the golden samples by the twins alone")
    added.add_argument("--skip-replay", action="store_true", help="compare files, configurations and pins alone")


def _releases(arguments: argparse.Namespace) -> int:
    repository = Repository(arguments.repository)
    names = [arguments.name] if arguments.name else sorted({*repository.names(), *repository.quarantine.names()})
    if not names:
        _tell_none(arguments.repository)
    code = 0
    for name in names:
        try:
            show(_listed(repository, name))
        # One model that is damaged must not hide the others.
        except PublishError as error:
            say(f"error: {error}")
            code = code or error.exit_code
    return code


def _tell_none(root: Path) -> None:
    """An empty repository has nothing to list, which is no failure; one that is not there is a typing error, or lost.

    Raises PublishError.
    """
    if not root.is_dir():
        raise PublishError(f"{root} is no folder and holds no release; name the repository with --repository")
    note(f"{root} holds no release; publish one with convert")


def _listed(repository: Repository, name: str) -> str:
    served = repository.served(name)
    known = repository.releases(name)
    quarantined = repository.quarantine.releases(name)
    if not known and not quarantined:
        raise PublishError(f"{repository.root} holds no release of '{name}'; publish it with convert")
    releases = " ".join(f"[{v}]" if v == served else str(v) for v in known)
    lines = [f"{name}: {releases}   ([n] is served)" if known else f"{name}: no release"]
    lines += [f"  {one.version} is in quarantine, {one.folder}: {one.reason}" for one in quarantined]
    return "\n".join(lines)


def _rollback(arguments: argparse.Namespace) -> int:
    repository = Repository(arguments.repository)
    with repository.locked():
        live = live_of(arguments, note)
        for sentence in repository.repair(arguments.name, live):
            note(sentence)
        version = repository.switch(arguments.name, arguments.to, live)
        # One that has come meanwhile may have looked at the pins before they were written.
        if live is None and (live := live_of(arguments, note)):
            repository.catch_up(arguments.name, live)
    show(f"{arguments.name}: release {version} is served")
    tell_files_only(arguments, live)
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    repository = Repository(arguments.repository)
    known = repository.names()
    names = arguments.names or known
    if not names:
        raise PublishError(f"{arguments.repository} holds no release to verify; publish one with convert")
    if unknown := sorted(set(names) - set(known)):
        raise PublishError(f"{arguments.repository} holds no release of '{unknown[0]}'; publish it with convert")
    replayed = () if arguments.skip_replay else ("onnx",) if arguments.skip_originals else ("onnx", "original")
    verdicts = []
    for verdict in verify(repository, names, replayed, progress("verify", arguments)):
        show(verdict)
        verdicts.append(verdict)
    failed = sum(1 for verdict in verdicts if verdict.problems)
    if failed:
        raise VerificationFailed(failed, len(verdicts))
    return 0
