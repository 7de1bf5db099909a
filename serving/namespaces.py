"""Which processes count by the same numbers: a container has its own, and the machine sees them under others."""

from __future__ import annotations

import contextlib
from pathlib import Path


def namespace(kind: str, proc: Path = Path("/proc"), pid: str = "self") -> str:
    """The namespace of a process as the kernel names it, for "pid" as an example pid:[4026531836].

    Empty where it is not to be seen: the process is gone, or another user's.
    """
    with contextlib.suppress(OSError):
        return str((proc / pid / "ns" / kind).readlink())
    return ""
