"""Who may publish to a repository now: one process at a time, and only where what it stages can be renamed into it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

from ..errors import RepositoryLocked, RepositoryUnwritable, StagingImpossible

__all__ = ["locked"]

# Between two looks at a lock that somebody else holds.
_PAUSE_S = 0.2


@contextlib.contextmanager
def locked(root: Path, staging: Path, patience_s: float, report: Callable[[str], None]) -> Iterator[None]:
    """Make both folders and hold the repository `root`; one that holds it is waited for this long, and reported once.

    Raises RepositoryLocked, RepositoryUnwritable, StagingImpossible.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        _require_staging(root, staging)
        # Unbuffered: what a full disk does not take would be written again where the file is closed, and raise there.
        lock = (staging / "lock").open("ab+", buffering=0)
    except OSError as error:
        raise RepositoryUnwritable(root, error.strerror or str(error)) from error
    with lock:
        _wait(lock, root, patience_s, report)
        # Only for whoever waits to read: a full disk, which refuses it, is what `prune` is run for.
        with contextlib.suppress(OSError):
            lock.truncate(0)
            lock.write(str(os.getpid()).encode())
        yield


def _wait(lock: FileIO, root: Path, patience_s: float, report: Callable[[str], None]) -> None:
    end, waiting = time.monotonic() + patience_s, False
    while not _taken(lock):
        lock.seek(0)
        holder = lock.read().decode("ascii", "replace").strip() or "unknown"
        if time.monotonic() >= end:
            raise RepositoryLocked(root, holder)
        if not waiting:
            report(f"waiting for process {holder}, which publishes to {root}")
        waiting = True
        time.sleep(_PAUSE_S)


def _taken(lock: FileIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _require_staging(root: Path, staging: Path) -> None:
    """Raise StagingImpossible, before anything is worked at, where nothing can be renamed into the repository.

    It is tried: that both are one file system does not mean that they are one mount.
    """
    try:
        staging.mkdir(exist_ok=True)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StagingImpossible(root, staging, error.strerror or str(error)) from error
        raise
    # A file: Triton takes a folder for a model.
    file, name = tempfile.mkstemp(dir=staging, prefix=".rename-")
    os.close(file)
    here, there = Path(name), root / Path(name).name
    try:
        here.rename(there)
    except OSError as error:
        here.unlink()
        if error.errno == errno.EXDEV:
            with contextlib.suppress(OSError):
                staging.rmdir()
            raise StagingImpossible(root, staging, "it is on another file system or mount") from error
        raise
    there.unlink()
