"""Releases that did not go live: kept beside the repository with the reason, under numbers that are not given again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..release.pbtxt import ROLES

__all__ = ["Quarantine", "Quarantined"]

REASON = "reason.txt"


@dataclass(frozen=True)
class Quarantined:
    """A release in quarantine: its number, where it lies, and why."""

    version: int
    folder: Path
    reason: str


class Quarantine:
    """Folders NAME-N, each with a folder for each role and reason.txt."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def place(self, name: str, version: int) -> Path:
        """Where a release lies, or would."""
        return self._folder / f"{name}-{version}"

    def add(self, name: str, version: int, roles: Mapping[str, Path], reason: str) -> Path:
        """Move the folders of a release here; gives their new home. Raises OSError."""
        place = self.place(name, version)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        # First the reason: whatever else is lost by a kill, a number in quarantine has one.
        (place / REASON).write_text(reason + "\n", encoding="utf-8", errors="backslashreplace")
        self.end(name, version, roles)
        return place

    def end(self, name: str, version: int, roles: Mapping[str, Path]) -> None:
        """Move what is not here yet of a release of which the reason is. Raises OSError."""
        for role, folder in roles.items():
            if folder.is_dir():
                folder.rename(self.place(name, version) / role)

    def releases(self, name: str) -> list[Quarantined]:
        """What is here of a model, by number."""
        found = []
        for place in self._folder.glob(f"{name}-*"):
            number = place.name.removeprefix(f"{name}-")
            if number.isdigit():
                found.append(Quarantined(int(number), place, _reason(place)))
        return sorted(found, key=lambda one: one.version)

    def names(self) -> list[str]:
        """The public names of all models of which something is here."""
        found = (place.name.rpartition("-") for place in self._folder.glob("*-*"))
        return sorted({name for name, _, number in found if number.isdigit()})

    def remove(self, name: str, version: int) -> None:
        """Delete a release. Raises OSError."""
        place = self.place(name, version)
        for role in ROLES:
            shutil.rmtree(place / role, ignore_errors=True)
        shutil.rmtree(place)


def _reason(place: Path) -> str:
    try:
        return (place / REASON).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "the reason is not noted"
