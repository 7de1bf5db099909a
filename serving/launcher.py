"""Becomes tritonserver, after asking the kernel to end it once the process that started it has ended.

It may open more files than its parent by then: each connection is one, and most systems begin with 1024.

Run as a script, `python -I -S launcher.py PARENT_PID BINARY ARGUMENT…`: a hook between fork and exec would do the same,
but is not safe in a parent that has threads, and gRPC always has.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
# No more, however many the system allows, which may be a billion: programs close or count as many as they might have.
_OPEN_FILES = 65536


def main(argv: list[str]) -> None:
    """Replace this process by BINARY. Exits with 1 when the parent is gone already."""
    parent, binary = int(argv[1]), argv[2]
    # SIGTERM, not SIGKILL: the server then finishes what is in flight and removes its shared memory.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    _raise_open_files()
    os.execv(binary, argv[2:])


def _raise_open_files() -> None:
    """Raise the soft limit as far as the hard one lets it; one that is higher stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main(sys.argv)
