"""The model repository on disk: releases are added whole, never overwritten, and served by what config.pbtxt pins.

A release N is the version directory N of all three models. It is staged on the same file system, renamed into place,
and goes live by a walk over the pins: the twins serve [old, new], the hybrid switches to new, the twins drop old.
The hybrid's pin is the truth: killed at any point, what it names is complete on disk, and `repair` removes the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from python_backend.integrity import CONFIG, against_sums, digests, write_sums

from .errors import (
    InterfaceChanged,
    PublishError,
    ReleaseBroken,
    ReleaseUnknown,
    RepositoryLocked,
    RepositoryUnwritable,
)
from .pbtxt import ROLES, TWINS, interface_difference, read_config, write_config
from .pinning import Pins

__all__ = ["Load", "Repository"]

# Tells a running server to take the configuration of a model as it now is; raises PublishError if it cannot.
Load = Callable[[str], None]


class Repository:
    """A Triton model repository that releases are published to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._staging = root.parent / f".{root.name}-staging"

    def served(self, name: str) -> int | None:
        """The release that the public model serves, None where there is none. Raises PublishError if it is damaged."""
        return Pins(self.root, name).served()

    def releases(self, name: str) -> list[int]:
        """The complete releases on disk, ascending."""
        found = [self._versions(name, role) for role in ROLES]
        return sorted(set.intersection(*found))

    def versions(self, name: str) -> list[int]:
        """Every version on disk that at least one of the three models has, complete or not, ascending."""
        return sorted(set().union(*(self._versions(name, role) for role in ROLES)))

    def names(self) -> list[str]:
        """The public names of all published models."""
        return sorted(
            path.parent.name
            for path in self.root.glob(f"*/{CONFIG}")
            if not path.parent.name.endswith(tuple(suffix for suffix in ROLES.values() if suffix))
        )

    def release_folder(self, name: str, role: str, version: int) -> Path:
        """Where the files of one twin (or of the hybrid) of a release lie."""
        return self._model(name, role) / str(version)

    def damages(self, name: str, version: int, roles: Iterable[str] = ROLES) -> list[str]:
        """What of a release is not as it was published, each with its path in the repository. Reads every file."""
        folders = [self.release_folder(name, role, version) for role in roles]
        return [f"{f.relative_to(self.root)}/{d}" for f in folders for d in against_sums(f, digests(f))]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the repository for one publisher. Raises RepositoryLocked, RepositoryUnwritable."""
        with self._refusals():
            self.root.mkdir(parents=True, exist_ok=True)
            self._staging.mkdir(exist_ok=True)
            lock = (self._staging / "lock").open("a+")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                lock.seek(0)
                raise RepositoryLocked(self.root, lock.read().strip() or "unknown") from error
            with self._refusals():
                lock.truncate(0)
                lock.write(str(os.getpid()))
                lock.flush()
            yield

    def stage(self, name: str) -> Path:
        """An empty folder on the repository's file system, with one folder a role. Raises RepositoryUnwritable."""
        staged = self._staging / name
        with self._refusals():
            shutil.rmtree(staged, ignore_errors=True)
            for role in ROLES:
                (staged / role).mkdir(parents=True)
        return staged

    def discard(self, name: str) -> None:
        """Drop what was staged."""
        shutil.rmtree(self._staging / name, ignore_errors=True)

    def publish(
        self,
        name: str,
        staged: Path,
        configs: Mapping[str, Any],
        load: Load | None = None,
        new_interface: bool = False,
    ) -> int:
        """Make the staged folders the next release and serve it; gives its number.

        On any failure, an interrupt too, the release is taken back and the old one serves on. Raises InterfaceChanged,
        RepositoryUnwritable, and what `load` raises.
        """
        old = self.served(name)
        if old is not None and not new_interface:
            difference = interface_difference(Pins(self.root, name).config("hybrid"), configs["hybrid"])
            if difference:
                raise InterfaceChanged(name, old, difference)
        version = max((v for role in ROLES for v in self._versions(name, role)), default=0) + 1
        try:
            with self._refusals():
                for role, config in configs.items():
                    # Each version keeps the configuration that it was made with, for the way back.
                    write_config(config, staged / role / CONFIG)
                    write_sums(staged / role)
                for role in ROLES:
                    self._model(name, role).mkdir(exist_ok=True)
                    (staged / role).rename(self.release_folder(name, role, version))
            self._switch(name, old, version, load)
        except BaseException:
            for role in ROLES:
                shutil.rmtree(self.release_folder(name, role, version), ignore_errors=True)
                if old is None and not self._versions(name, role):
                    shutil.rmtree(self._model(name, role), ignore_errors=True)
            raise
        finally:
            self.discard(name)
        return version

    def switch(self, name: str, version: int | None, load: Load | None = None) -> int:
        """Serve a release that is on disk (None: the one before the served one); gives its number.

        Raises ReleaseUnknown, ReleaseBroken, RepositoryUnwritable, and what `load` raises.
        """
        served, known = self.served(name), self.releases(name)
        if version is None:
            version = max((v for v in known if served is not None and v < served), default=None)
        if version is None or version not in known:
            raise ReleaseUnknown(name, version, known)
        if version != served:
            # A server that is told to load what it must refuse can crash (24.10), with both releases pinned.
            if damaged := self.damages(name, version):
                raise ReleaseBroken(name, version, damaged)
            self._switch(name, served, version, load)
        return version

    def repair(self, name: str) -> list[str]:
        """Undo what a killed publisher left: half releases, unfinished pins. Gives what was done, in sentences."""
        done = []
        self.discard(name)
        served, complete = self.served(name), set(self.releases(name))
        with self._refusals():
            for role in ROLES:
                for version in self._versions(name, role):
                    if version not in complete:
                        shutil.rmtree(self.release_folder(name, role, version))
                        done.append(f"removed the half-published version {version} of {name}{ROLES[role]}")
            pins = Pins(self.root, name)
            if served is not None and not pins.hold(served):
                pins.write({role: [served] for role in ROLES}, served)
                done.append(f"pinned {name} to release {served} again")
        return done

    def _switch(self, name: str, old: int | None, new: int, load: Load | None) -> None:
        tell = load or (lambda _model: None)
        pins = Pins(self.root, name)
        saved = pins.saved()
        steps = [self._beside(name, old, new), {"hybrid": [new]}, {role: [new] for role in TWINS}]
        try:
            for versions in steps:
                with self._refusals():
                    pins.write(versions, new)
                for role in versions:
                    tell(f"{name}{ROLES[role]}")
        except BaseException:
            if old is not None:
                with contextlib.suppress(OSError):
                    pins.restore(saved)
                for suffix in ROLES.values():
                    with contextlib.suppress(PublishError):
                        tell(f"{name}{suffix}")
            raise

    def _beside(self, name: str, old: int | None, new: int) -> dict[str, list[int]]:
        """What each twin pins while both releases are needed: the old one too, where it can be loaded beside the new.

        Triton may load the old one again; damaged, it would be refused, and 24.10 can crash of that.
        """
        if old is None or self._interface_differs(name, new):
            return {role: [new] for role in TWINS}
        return {role: [new] if self.damages(name, old, [role]) else [old, new] for role in TWINS}

    def _interface_differs(self, name: str, new: int) -> bool:
        served = Pins(self.root, name)
        return any(
            interface_difference(served.config(role), read_config(self.release_folder(name, role, new) / CONFIG))
            for role in ROLES
        )

    def _model(self, name: str, role: str) -> Path:
        return self.root / f"{name}{ROLES[role]}"

    def _versions(self, name: str, role: str) -> set[int]:
        return {int(path.name) for path in self._model(name, role).glob("[0-9]*") if path.name.isdigit()}

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RepositoryUnwritable(self.root, error.strerror or str(error)) from error
