"""Requests on which the twins differed, kept on disk: the newest few, for `conversion replay`.

What callers sent is nobody else's business: a folder that others may write in is not used, and no file can be read, or
was laid there, by anybody else.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from .errors import FolderShared
from .shadow import Differing
from .strings import packed, packed_size

# A request larger than this is not kept.
_MOST_BYTES = 64_000_000
# Nobody takes as long to write one.
_UNFINISHED_NS = 600 * 10**9
_UNFINISHED = ".new"


def default_folder(name: str) -> Path:
    """Where the requests of the model `name` are kept if nobody says: of this user's own, in a place open to all."""
    return Path(tempfile.gettempdir(), f"understudy-{os.geteuid()}-{name}")


class Exhibits:
    """Files `differing-N.npz` in a folder, N from 0 up to `keep` of them; then the oldest makes room.

    Every process of the model keeps its own there, and what one that was killed has left unfinished goes.

    A file holds `input/NAME`, `output/NAME`, which is the original's answer, and `twin/NAME`; strings as `packed` has
    them, so that nothing need be unpickled.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder = folder
        self._names = [f"differing-{number}.npz" for number in range(keep)]

    def save(self, found: Differing) -> Path | None:
        """Write one; gives its path, or None where none is to be kept. Raises OSError, FolderShared."""
        if not self._names:
            return None
        kinds = {"input": found.inputs, "output": found.original, "twin": found.onnx}
        # Before anything is made of them: strings are short to hand on, and may be long to store.
        if sum(map(packed_size, kinds.values())) > _MOST_BYTES:
            return None
        arrays = {key: array for kind, of in kinds.items() for key, array in packed(kind, of).items()}
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _own_folder(self._folder) as folder:
            _remove_unfinished(folder)
            name = min(self._names, key=lambda name: _written(folder, name))
            with _whole_file(folder, name) as file, os.fdopen(file, "wb") as opened:
                np.savez_compressed(opened, **arrays)
        return self._folder / name


@contextmanager
def _own_folder(path: Path) -> Iterator[int]:
    """The folder as a descriptor, which stays the folder that was looked at. Raises OSError, FolderShared."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    # A link, or a file.
    except NotADirectoryError as error:
        raise FolderShared(path) from error
    try:
        facts = os.fstat(folder)
        if facts.st_uid != os.geteuid() or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise FolderShared(path)
        yield folder
    finally:
        os.close(folder)


@contextmanager
def _whole_file(folder: int, name: str) -> Iterator[int]:
    """A new file to write, as a descriptor that the caller closes; it gets its name when it is whole, or goes."""
    unfinished = secrets.token_hex(8) + _UNFINISHED
    file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    try:
        yield file
        os.replace(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(unfinished, dir_fd=folder)
        raise


def _remove_unfinished(folder: int) -> None:
    for name in os.listdir(folder):
        if name.endswith(_UNFINISHED) and time.time_ns() - _written(folder, name) > _UNFINISHED_NS:
            # Another process may have removed it meanwhile.
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)


def _written(folder: int, name: str) -> int:
    """When, in nanoseconds; 0 where there is no such file."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime_ns
    except FileNotFoundError:
        return 0
