"""A temporary directory for each server, removed when it stops, or at the next start when its owner was killed."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from serving.namespaces import namespace
from serving.state import started_ticks

_PREFIX = "understudy-triton-"


def make_run_directory() -> Path:
    """A new directory whose name tells the process that owns it, and by whose count."""
    return Path(tempfile.mkdtemp(prefix=f"{_prefix()}{os.getpid()}-{started_ticks(os.getpid())}-"))


def _prefix() -> str:
    # Containers may share the folder, and see none of each other's processes.
    return f"{_PREFIX}{re.sub('[^0-9]', '', namespace('pid')) or 0}-"


def in_run_directory(path: str) -> bool:
    """Whether a file belongs to such a directory, which may be gone."""
    return any(part.startswith(_PREFIX) for part in Path(path).parts[:-1])


def sweep_run_directories(parent: Path | None = None) -> list[Path]:
    """Remove the directories whose owner is gone, and return them. Another container's are left alone."""
    swept = []
    prefix = _prefix()
    for directory in sorted((parent or Path(tempfile.gettempdir())).glob(f"{prefix}*")):
        fields = directory.name.removeprefix(prefix).split("-")
        if len(fields) != 3 or not fields[0].isdigit() or not fields[1].isdigit():
            continue
        if directory.stat().st_uid == os.geteuid() and started_ticks(int(fields[0])) != int(fields[1]):
            shutil.rmtree(directory, ignore_errors=True)
            swept.append(directory)
    return swept
