"""Becomes tritonserver, after asking the kernel to end it once the process that started it has ended.

Run as a script, `python -I -S launcher.py PARENT_PID BINARY ARGUMENT…`: a hook between fork and exec would do the same,
but is not safe in a parent that has threads, and gRPC always has.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Replace this process by BINARY. Exits with 1 when the parent is gone already."""
    parent, binary = int(argv[1]), argv[2]
    # SIGTERM, not SIGKILL: the server then finishes what is in flight and removes its shared memory.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(binary, argv[2:])


if __name__ == "__main__":
    main(sys.argv)
