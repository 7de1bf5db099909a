"""What lies where in a model repository and beside it, who may write there, and what of it is complete and intact."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from python_backend.integrity import CONFIG, against_sums, digests

from .errors import RepositoryLocked, RepositoryUnwritable
from .pbtxt import ROLES
from .pinning import Pins
from .quarantine import Quarantine

__all__ = ["Folders"]


class Folders:
    """The folders of a repository. What is not to be served lies beside it, on the same file system."""

    def __init__(self, root: Path) -> None:
        # A link, `.` or another working directory would put what lies beside it, the lock too, where nobody looks.
        self.root = root.resolve()
        self._staging = self.root.parent / f".{self.root.name}-staging"
        self.quarantine = Quarantine(self._staging / "quarantine")

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
        staged = self._staged(name)
        with self._refusals():
            shutil.rmtree(staged, ignore_errors=True)
            for role in ROLES:
                (staged / role).mkdir(parents=True)
        return staged

    def discard(self, name: str) -> None:
        """Drop what was staged."""
        shutil.rmtree(self._staged(name), ignore_errors=True)

    def remove(self, name: str, version: int) -> None:
        """Delete a release that is not served: whole or, where this is killed, half, for `repair` to end it."""
        gone = self._staging / "removed" / name
        with self._refusals():
            gone.mkdir(parents=True, exist_ok=True)
            for role in ROLES:
                self.release_folder(name, role, version).rename(gone / f"{role}-{version}")
            shutil.rmtree(gone)

    def _staged(self, name: str) -> Path:
        return self._staging / "staged" / name

    def _scratch(self, name: str) -> Path:
        return self._staging / "rehearsal" / name

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
