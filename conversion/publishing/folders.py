"""What lies where in a model repository and beside it, who may write there, and what of it is complete and intact."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from python_backend.integrity import CONFIG, against_sums, digests, is_release

from ..errors import ModelForeign, RepositoryUnreadable, RepositoryUnwritable
from ..release.pbtxt import ROLES, TWINS
from .locking import locked
from .pinning import Pins
from .quarantine import Quarantine

__all__ = ["Folders"]

# As Triton reads them: it passes by a name with a leading zero.
_VERSION = re.compile("0|[1-9][0-9]*", re.ASCII)
# What a model may be called; a volume has folders of its own, such as lost+found.
_MODEL = re.compile("[A-Za-z][A-Za-z0-9_.-]*")


class Folders:
    """The folders of a repository. What is not to be served lies beside it, on the same file system."""

    def __init__(self, root: Path) -> None:
        # A link, `.` or another working directory would put what lies beside it, the lock too, where nobody looks.
        self.root = root.resolve()
        self._staging = self.root.parent / f".{self.root.name}-staging"
        self.quarantine = Quarantine(self._staging / "quarantine")

    def served(self, name: str) -> int | None:
        """The release that the public model serves, None where there is none. Raises PublishError if it is damaged."""
        with self._unreadable(name):
            return Pins(self.root, name).served()

    def releases(self, name: str) -> list[int]:
        """The complete releases on disk, ascending. Raises RepositoryUnreadable."""
        found = [self._versions(name, role) for role in ROLES]
        return sorted(set.intersection(*found))

    def versions(self, name: str) -> list[int]:
        """Every version on disk that at least one of the three models has, complete or not, ascending.

        Raises RepositoryUnreadable.
        """
        return sorted(set().union(*(self._versions(name, role) for role in ROLES)))

    def names(self) -> list[str]:
        """The public names of all models of which the repository holds a release, or a part of one.

        A model whose folder cannot be listed counts: whoever asks for its releases hears why. So does one that only a
        configuration of ours is left of. Raises RepositoryUnreadable.
        """
        with self._unreadable(""):
            models = [
                name for name in _listed(self.root) if _MODEL.fullmatch(name) and not (self.root / name).is_file()
            ]
        suffixes = [suffix for suffix in ROLES.values() if suffix]
        ours = (model for model in models if self._published(model))
        return sorted({next((m.removesuffix(s) for s in suffixes if m.endswith(s)), m) for m in ours})

    def require_ours(self, name: str) -> None:
        """Raise ModelForeign where `name` is no public name, or that of models which were not published here."""
        for suffix in (ROLES[role] for role in TWINS):
            if name.endswith(suffix):
                raise ModelForeign(
                    f"'{name}' is not a public name but that of a twin; name '{name.removesuffix(suffix)}'"
                )
        if not _MODEL.fullmatch(name):
            raise ModelForeign(f"'{name}' is not a model's name; `releases` lists those that are published")
        models = [f"{name}{suffix}" for suffix in ROLES.values()]
        there = [m for m in models if (self.root / m / CONFIG).exists() or self._numbers(m)]
        if there and not any(map(self._published, models)):
            raise ModelForeign(
                f"{self.root / there[-1]} was not published by convert, and is left alone; `releases` lists what was, "
                "and a new model needs another name"
            )

    def release_folder(self, name: str, role: str, version: int) -> Path:
        """Where the files of one twin (or of the hybrid) of a release lie."""
        return self._model(name, role) / str(version)

    def config_path(self, name: str, role: str) -> Path:
        """Where the configuration lies by which a role is served."""
        return self._model(name, role) / CONFIG

    def damages(self, name: str, version: int, roles: Iterable[str] = ROLES) -> list[str]:
        """What of a release is not as it was published, each with its path in the repository. Reads every file."""
        folders = [self.release_folder(name, role, version) for role in roles]
        return [f"{f.relative_to(self.root)}/{d}" for f in folders for d in against_sums(f, digests(f))]

    def locked(
        self, patience_s: float = 0.0, report: Callable[[str], None] = lambda _: None
    ) -> AbstractContextManager[None]:
        """Hold the repository for one publisher; one that holds it is waited for this long, which is reported once.

        Raises RepositoryLocked, RepositoryUnwritable, StagingImpossible.
        """
        return locked(self.root, self._staging, patience_s, report)

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
        """Delete a release that is not served: whole or, where this is killed, half, for `end_removals`."""
        gone = self._removed(name)
        with self._refusals():
            gone.mkdir(parents=True, exist_ok=True)
            for role in ROLES:
                folder = self.release_folder(name, role, version)
                if folder.exists():
                    folder.rename(gone / f"{role}-{version}")
            shutil.rmtree(gone)

    def end_removals(self, name: str, stay: Collection[int]) -> list[int]:
        """Delete what is left of releases whose removal was begun, but for those that `stay`; gives their numbers."""
        gone = self._removed(name)
        half = set(self.versions(name)) - set(self.releases(name)) - set(stay)
        begun = {int(path.name.rpartition("-")[2]) for path in gone.glob("*-*")}
        left = sorted(half & begun)
        # What was moved stays there until the rest is there too: killed once more, this begins again.
        for version in left:
            self.remove(name, version)
        shutil.rmtree(gone, ignore_errors=True)
        return left

    def _staged(self, name: str) -> Path:
        return self._staging / "staged" / name

    def _scratch(self, name: str) -> Path:
        return self._staging / "rehearsal" / name

    def _removed(self, name: str) -> Path:
        return self._staging / "removed" / name

    def _model(self, name: str, role: str) -> Path:
        return self.root / f"{name}{ROLES[role]}"

    def _versions(self, name: str, role: str) -> set[int]:
        return self._numbers(f"{name}{ROLES[role]}")

    def _numbers(self, model: str) -> set[int]:
        """The version folders of a model; a model that is not there has none. Raises RepositoryUnreadable."""
        with self._unreadable(model):
            return {int(name) for name in _listed(self.root / model) if _VERSION.fullmatch(name)}

    def _published(self, model: str) -> bool:
        try:
            numbers = self._numbers(model)
            released = any(is_release(self.root / model / str(number)) for number in numbers)
            return released or (not numbers and b'"primary_model"' in (self.root / model / CONFIG).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, RepositoryUnreadable):
            return True

    @contextlib.contextmanager
    def _unreadable(self, model: str) -> Iterator[None]:
        """What cannot be listed or read is not empty. Raises RepositoryUnreadable."""
        try:
            yield
        except OSError as error:
            place = Path(error.filename) if isinstance(error.filename, str) else self.root / model
            raise RepositoryUnreadable(place, error.strerror or str(error)) from error

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RepositoryUnwritable(self.root, error.strerror or str(error)) from error


def _listed(folder: Path) -> list[str]:
    """The names in a folder; none where there is no folder. Unlike a glob it raises OSError for what is unreadable."""
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
