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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import InterfaceChanged, PublishError, ReleaseUnknown, RepositoryLocked, RepositoryUnwritable
from .pbtxt import ROLES, interface_difference, pin, read_config, write_config

__all__ = ["Load", "Repository"]

CONFIG = "config.pbtxt"
# Tells a running server to take the configuration of a model as it now is; raises PublishError if it cannot.
Load = Callable[[str], None]


class Repository:
    """A Triton model repository that releases are published to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._staging = root.parent / f".{root.name}-staging"

    def served(self, name: str) -> int | None:
        """The release that the public model serves, None where there is none."""
        path = self._model(name, "hybrid") / CONFIG
        versions = read_config(path).version_policy.specific.versions if path.is_file() else []
        return versions[-1] if versions else None

    def releases(self, name: str) -> list[int]:
        """The complete releases on disk, ascending."""
        found = [self._versions(name, role) for role in ROLES]
        return sorted(set.intersection(*found))

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
            difference = interface_difference(self._config(name, "hybrid", old), configs["hybrid"])
            if difference:
                raise InterfaceChanged(name, old, difference)
        version = max((v for role in ROLES for v in self._versions(name, role)), default=0) + 1
        try:
            with self._refusals():
                for role, config in configs.items():
                    # Each version keeps the configuration that it was made with, for the way back.
                    write_config(config, staged / role / CONFIG)
                for role in ROLES:
                    self._model(name, role).mkdir(exist_ok=True)
                    (staged / role).rename(self.release_folder(name, role, version))
            self._switch(name, old, version, load)
        except BaseException:
            for role in ROLES:
                shutil.rmtree(self.release_folder(name, role, version), ignore_errors=True)
                if old is None:
                    shutil.rmtree(self._model(name, role), ignore_errors=True)
            raise
        finally:
            self.discard(name)
        return version

    def switch(self, name: str, version: int | None, load: Load | None = None) -> int:
        """Serve a release that is on disk (None: the one before the served one); gives its number.

        Raises ReleaseUnknown, RepositoryUnwritable, and what `load` raises.
        """
        served, known = self.served(name), self.releases(name)
        if version is None:
            version = max((v for v in known if served is not None and v < served), default=None)
        if version is None or version not in known:
            raise ReleaseUnknown(name, version, known)
        if version != served:
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
            if served is not None and self._pins(name) != {role: [served] for role in ROLES}:
                self._pin(name, {role: [served] for role in ROLES}, served)
                done.append(f"pinned {name} to release {served} again")
        return done

    def _switch(self, name: str, old: int | None, new: int, load: Load | None) -> None:
        tell = load or (lambda _model: None)
        both = [new] if old is None or self._interface_differs(name, old, new) else [old, new]
        twins = [role for role in ROLES if role != "hybrid"]
        steps: list[tuple[list[str], list[int]]] = [(twins, both), (["hybrid"], [new]), (twins, [new])]
        try:
            for roles, versions in steps:
                with self._refusals():
                    self._pin(name, dict.fromkeys(roles, versions), new)
                for role in roles:
                    tell(f"{name}{ROLES[role]}")
        except BaseException:
            if old is not None:
                with contextlib.suppress(OSError):
                    self._pin(name, {role: [old] for role in ROLES}, old)
                for suffix in ROLES.values():
                    with contextlib.suppress(PublishError):
                        tell(f"{name}{suffix}")
            raise

    def _interface_differs(self, name: str, old: int, new: int) -> bool:
        return any(interface_difference(self._config(name, r, old), self._config(name, r, new)) for r in ROLES)

    def _pin(self, name: str, versions: Mapping[str, list[int]], of: int) -> None:
        for role, pinned in versions.items():
            write_config(pin(self._config(name, role, of), pinned), self._model(name, role) / CONFIG)

    def _pins(self, name: str) -> dict[str, list[int]]:
        return {
            role: list(read_config(path).version_policy.specific.versions) if path.is_file() else []
            for role in ROLES
            for path in [self._model(name, role) / CONFIG]
        }

    def _config(self, name: str, role: str, version: int) -> Any:
        return read_config(self.release_folder(name, role, version) / CONFIG)

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
