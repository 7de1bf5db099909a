"""A temporary directory for each server, removed when it stops, or at the next start when its owner was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from serving.errors import NoRunDirectory
from serving.layout import is_plain
from serving.locate import PROJECT
from serving.namespaces import namespace
from serving.state import started_ticks

_PREFIX = "understudy-triton-"
_Filled = TypeVar("_Filled")


def run_places() -> tuple[Path, ...]:
    """Where the directory may lie, best first. The project's own folder is where the embedded Triton runs from."""
    with contextlib.suppress(FileNotFoundError):
        return (Path(tempfile.gettempdir()), PROJECT / "build")
    return (PROJECT / "build",)


def find_place(places: Sequence[Path], *, programs: bool) -> Path:
    """The first that is fit for the directory. Raises NoRunDirectory."""
    complaints = [complaint(place, programs=programs) for place in places]
    if all(complaints):
        raise NoRunDirectory(complaints)
    return next(place for place, what in zip(places, complaints, strict=True) if not what)


def complaint(place: Path, *, programs: bool) -> str:
    """Why a place is unfit, beginning with its name; empty where it is fit. With `programs` they are run from there."""
    there = next(path for path in (place, *place.parents) if path.exists())
    if not is_plain(place):
        return f"'{place}' has a character in it that a shell would read"
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return f"{place} cannot be written"
    if programs and os.statvfs(there).f_flag & os.ST_NOEXEC:
        return f"{place} is mounted noexec"
    return ""


def make_run_directory(fill: Callable[[Path], _Filled], *, programs: bool) -> tuple[Path, _Filled]:
    """A new directory whose name tells the process that owns it, and by whose count, and what `fill` made of it.

    It lies in the first place that is fit and takes all of it: one may be full. Raises NoRunDirectory.
    """
    complaints = []
    for place in run_places():
        what = complaint(place, programs=programs)
        if not what:
            try:
                return _make(place, fill)
            except OSError as error:
                what = f"{place} does not take it ({error.strerror or error})"
        complaints.append(what)
    raise NoRunDirectory(complaints)


def hold(directory: Path) -> contextlib.ExitStack:
    """Keep the directory from who cleans up by age, until the stack is closed or this process ends, and with it Triton.

    Debian 13 and others let systemd-tmpfiles delete what nobody has touched for ten days in /tmp, and a server reads
    its stub at the next repair. A directory that is locked it passes over, with all that is in there.
    """
    held = contextlib.ExitStack()
    # Not every file system has such locks, and a server does without.
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        held.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return held


def _make(place: Path, fill: Callable[[Path], _Filled]) -> tuple[Path, _Filled]:
    place.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f"{_prefix()}{os.getpid()}-{started_ticks(os.getpid())}-", dir=place))
    try:
        return made, fill(made)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def _prefix() -> str:
    # Containers may share the folder, and see none of each other's processes.
    return f"{_PREFIX}{re.sub('[^0-9]', '', namespace('pid')) or 0}-"


def in_run_directory(path: str) -> bool:
    """Whether a file belongs to such a directory, which may be gone."""
    return any(part.startswith(_PREFIX) for part in Path(path).parts[:-1])


def sweep_run_directories(places: Sequence[Path] | None = None) -> list[Path]:
    """Remove the directories whose owner is gone, and return them. Another container's are left alone."""
    swept = list(_abandoned(run_places() if places is None else places))
    for directory in swept:
        shutil.rmtree(directory, ignore_errors=True)
    return swept


def _abandoned(places: Sequence[Path]) -> Iterator[Path]:
    prefix = _prefix()
    for directory in (one for place in places for one in sorted(place.glob(f"{prefix}*"))):
        fields = directory.name.removeprefix(prefix).split("-")
        if len(fields) != 3 or not fields[0].isdigit() or not fields[1].isdigit():
            continue
        if _owned(directory) and started_ticks(int(fields[0])) != int(fields[1]):
            yield directory


def _owned(directory: Path) -> bool:
    # Another server of ours may remove its own, or one that it sweeps, at this moment.
    with contextlib.suppress(FileNotFoundError):
        return directory.stat().st_uid == os.geteuid()
    return False
