"""The Python backend's regions in /dev/shm: how large to make them, and which a dead server left behind."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from python_backend.limits import available_memory
from serving.errors import NoSharedMemory
from serving.namespaces import namespace

# "python" is the name in the middle for Python models; a Python-based backend, as the stand-in, puts in its own.
_REGION = re.compile(r"triton_[^/]+_backend_shm_region_[0-9a-f-]+")
SHM = Path("/dev/shm")
MIB = 1 << 20
# The numbers of the namespaces that the kernel begins with (include/linux/proc_ns.h).
_FIRST_PID, _FIRST_IPC = "pid:[4026531836]", "ipc:[4026531839]"
# Regions that must fit at the least: a dozen models with a few instances each.
REGIONS = 64
# A process that died keeps its region until the server ends. From so many on the watch asks for that (telling.py).
_LEFT = 8


def sweep_orphans(shm: Path = SHM, proc: Path = Path("/proc")) -> list[Path]:
    """Delete the regions that no living process uses and return them. Another server's are left alone.

    So are all of them in a container that has the machine's shared memory and does not see the machine's processes.
    """
    orphans = _orphans(shm, proc) if _sees_all_users(proc) else []
    for region in orphans:
        region.unlink(missing_ok=True)
    return orphans


def _sees_all_users(proc: Path) -> bool:
    return namespace("pid", proc) in ("", _FIRST_PID) or namespace("ipc", proc) != _FIRST_IPC


def _orphans(shm: Path, proc: Path) -> list[Path]:
    """Regions of this user in nobody's hands. A process of another user cannot be looked into, nor need it be.

    The order of the looks matters. A server opens a region as it creates it, takes its memory, which may last, maps it,
    and only then closes it: first the list, then what is open, then what is mapped leaves no moment to slip through.
    """
    regions = {path.name: path for path in sorted(shm.iterdir()) if _REGION.fullmatch(path.name) and _owned(path)}
    for process in proc.glob("[0-9]*") if regions else ():
        for name in (*_opened(process), *_mapped(process)):
            regions.pop(name, None)
    return list(regions.values())


def _opened(process: Path) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                yield from _REGION.findall(str(descriptor.readlink()))


def _mapped(process: Path) -> Iterator[str]:
    with contextlib.suppress(OSError):
        yield from _REGION.findall((process / "maps").read_text(errors="replace"))


def _owned(path: Path) -> bool:
    try:
        return path.stat().st_uid == os.geteuid()
    except FileNotFoundError:
        return False


def region_bytes(free_bytes: int, processes: int = 0, beside: int = 0) -> tuple[int, int]:
    """First size and growth of a stub's region, in bytes, where that much shared memory is free.

    There will be so many `processes`, and so many `beside` them for a while. Raises NoSharedMemory where those that
    stay would not fit.

    Every instance of every Python model takes its whole region from memory at once and never gives it back. One that
    is too small has to grow under load, which stalls requests and is where this release is known to crash (issue 8882
    of triton-inference-server/server). So: 128 MiB where there is plenty, less in proportion where there is not.
    """
    if processes * MIB > free_bytes:
        raise NoSharedMemory(processes, free_bytes // MIB)
    share = free_bytes // max(REGIONS, processes + beside + _LEFT)
    first = next((size for size in (128, 64, 32, 16, 8, 4, 2) if size * MIB <= share), 1) * MIB
    return first, max(first // 2, MIB)


def free_bytes() -> int:
    """Shared memory that can still be taken: what /dev/shm allows, but no more than the memory that is available."""
    return min(shutil.disk_usage(SHM).free, available_memory())
