"""Which releases on disk are let go: the oldest, and those in quarantine but for the last."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import RepositoryUnwritable
from ..release.pbtxt import ROLES
from .live import Live
from .pinning import Pins
from .repository import Repository

__all__ = ["Pruned", "prune"]


@dataclass(frozen=True)
class Pruned:
    """The numbers that are gone and those that stay, of releases and, apart from them, of what is in quarantine."""

    removed: tuple[int, ...]
    kept: tuple[int, ...]
    quarantine_removed: tuple[int, ...]
    quarantine_kept: tuple[int, ...]


def prune(repository: Repository, name: str, keep: int, live: Live | None = None) -> Pruned:
    """Remove all but the newest `keep` releases (one at least), and all but the last one in quarantine.

    What is served or pinned stays, and so does what a running server has loaded. The repository has to be
    locked and repaired. Raises RepositoryUnwritable, and PublishError where the server does not answer.
    """
    known = repository.releases(name)
    stay = {*known[-max(keep, 1) :], repository.served(name), *Pins(repository.root, name).versions()}
    if live:
        stay.update(version for suffix in ROLES.values() for version in live.server.versions(f"{name}{suffix}"))
    removed = tuple(version for version in known if version not in stay)
    for version in removed:
        repository.remove(name, version)
    held = [one.version for one in repository.quarantine.releases(name)]
    try:
        for version in held[:-1]:
            repository.quarantine.remove(name, version)
    except OSError as error:
        raise RepositoryUnwritable(repository.root, error.strerror or str(error)) from error
    kept = tuple(version for version in known if version in stay)
    return Pruned(removed, kept, tuple(held[:-1]), tuple(held[-1:]))
