"""Which shared libraries of a binary the loader would not find."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

_TIMEOUT_S = 20.0


def missing_libraries(binary: Path, directories: Sequence[Path]) -> list[str]:
    """Names that are not found with `directories` before LD_LIBRARY_PATH. Asks the loader itself, which runs no code.

    Returns the loader's complaint as the only entry when it cannot read the binary at all.
    """
    libraries = [*map(str, directories), os.environ.get("LD_LIBRARY_PATH", "")]
    environ = {**os.environ, "LD_TRACE_LOADED_OBJECTS": "1", "LD_LIBRARY_PATH": ":".join(filter(None, libraries))}
    try:
        done = subprocess.run(
            [str(binary)], env=environ, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"all of {binary.name} ({error})"]
    missing = [line.split()[0] for line in done.stdout.splitlines() if line.rstrip().endswith("not found")]
    if done.returncode != 0 and not missing:
        return [done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"all of {binary.name}"]
    return sorted(missing)
