"""Which release the three models serve: the pins in their config.pbtxt, read, written and put back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from python_backend.integrity import CONFIG, config_damages, damages, pins

from ..release.pbtxt import ROLES, TWINS, pinned, read_config, replace_file

__all__ = ["Pins"]

# What the file systems that are in use tell apart, at the most a few hundred nanoseconds.
_TICK_NS = 1000


class Pins:
    """The pins of model `name` in the repository `root`. A model's configuration is a release's own and the pins."""

    def __init__(self, root: Path, name: str) -> None:
        self._models = {role: root / f"{name}{suffix}" for role, suffix in ROLES.items()}

    def served(self) -> int | None:
        """The release that the hybrid pins, None where there is none. Raises PublishError where it cannot be told.

        Where the hybrid's configuration is no longer one, or pins what is not there, it is what both twins pin.
        """
        path = self._models["hybrid"] / CONFIG
        if not path.is_file():
            return None
        twins = [pins(self._models[twin] / CONFIG) for twin in TWINS]
        agreed = twins[0] if len(set(twins)) == 1 and len(twins[0]) == 1 else ()
        for versions in (pins(path), agreed):
            if versions and (path.parent / str(versions[-1])).is_dir():
                return versions[-1]
        told = read_config(path).version_policy.specific.versions
        return told[-1] if told else None

    def hold(self, version: int) -> bool:
        """Whether all three pin this release alone, by its own configuration unless that is what is damaged."""
        return all(self._holds(model, version) for model in self._models.values())

    def _holds(self, model: Path, version: int) -> bool:
        folder = model / str(version)
        if pins(model / CONFIG) != (version,):
            return False
        return not config_damages(folder) or any(damage.file == CONFIG for damage in damages(folder))

    def write(self, versions: Mapping[str, Sequence[int]], of: int) -> None:
        """Pin `versions` for each role, with the configuration of release `of`. Raises OSError."""
        for role, served in versions.items():
            own = (self._models[role] / str(of) / CONFIG).read_bytes()
            self._put(pinned(own, served), role)

    def config(self, role: str) -> Any:
        """The configuration by which a role is served. Raises PublishError."""
        return read_config(self._models[role] / CONFIG)

    def saved(self) -> dict[str, bytes]:
        """The configurations as they are, by role, for `restore`. Raises OSError."""
        return {role: path.read_bytes() for role, model in self._models.items() if (path := model / CONFIG).is_file()}

    def restore(self, saved: Mapping[str, bytes], roles: Iterable[str]) -> None:
        """Put back what was saved of these roles; where nothing was, there is nothing again. Raises OSError."""
        for role in roles:
            path = self._models[role] / CONFIG
            if role not in saved:
                path.unlink(missing_ok=True)
            # A server takes a file for changed by its time, and a full disk would refuse to write even the same again.
            elif not path.is_file() or path.read_bytes() != saved[role]:
                self._put(saved[role], role)

    def _put(self, content: bytes, role: str) -> None:
        """Write a configuration so that a server loads it when it is told to. Raises OSError.

        Triton loads nothing, and says that it did, unless something of the model is newer than all of it was: where the
        clock was set back, or a release has a file of a later year, the old pins would stay served.
        """
        model = self._models[role]
        newest, path = _newest(model), model / CONFIG
        replace_file(content, path)
        # The rename has dated the folder anew, perhaps later than the file.
        after = max(newest, *(made.stat().st_mtime_ns for made in (path, model))) + _TICK_NS
        # The pins are right also where times cannot be set.
        with contextlib.suppress(OSError):
            os.utime(path, ns=(after, after))

    def differ(self, saved: Mapping[str, bytes], role: str) -> bool:
        """Whether the configuration of a role is another one than was saved. Raises OSError."""
        return (self._models[role] / CONFIG).read_bytes() != saved[role]

    def held(self, roles: Iterable[str]) -> dict[str, list[int]]:
        """What each of these roles pins."""
        return {role: list(pins(self._models[role] / CONFIG)) for role in roles}

    def versions(self) -> set[int]:
        """Every version that at least one of the three pins, as far as that can be told."""
        return {version for model in self._models.values() for version in pins(model / CONFIG)}

    def on_disk(self, version: int) -> bool:
        """Whether a version of all three models is there."""
        return all((model / str(version)).is_dir() for model in self._models.values())


def _newest(folder: Path) -> int:
    """The latest time of the folder and all below it, in nanoseconds since 1970; what cannot be looked at has none."""
    latest = 0
    for place, _, files in os.walk(folder):
        for path in (place, *(os.path.join(place, file) for file in files)):
            with contextlib.suppress(OSError):
                latest = max(latest, os.stat(path).st_mtime_ns)
    return latest
