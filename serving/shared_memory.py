"""The Python backend's regions in /dev/shm: how large to make them, and which a dead server left behind."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

# "python" is the name in the middle for Python models; a Python-based backend, as the stand-in, puts in its own.
_REGION = re.compile(r"triton_[^/]+_backend_shm_region_[0-9a-f-]+")
SHM = Path("/dev/shm")
MIB = 1 << 20
# Two looks this far apart: a server maps a region right after it has made it, so only what stays unmapped is orphaned.
_SECOND_LOOK_S = 0.2


def sweep_orphans(shm: Path = SHM, proc: Path = Path("/proc"), pause_s: float = _SECOND_LOOK_S) -> list[Path]:
    """Delete the regions that no living process maps and return them. Another server's are left alone."""
    orphans = _unmapped(shm, proc)
    if orphans:
        time.sleep(pause_s)
        orphans = orphans & _unmapped(shm, proc)
    swept = []
    for region in sorted(orphans):
        try:
            region.unlink()
        except FileNotFoundError:
            continue
        swept.append(region)
    return swept


def _unmapped(shm: Path, proc: Path) -> set[Path]:
    """Regions of this user that no process maps. A process of another user cannot be looked into, nor need it be."""
    regions = {path.name: path for path in shm.iterdir() if _REGION.fullmatch(path.name) and _owned(path)}
    for process in proc.glob("[0-9]*") if regions else ():
        try:
            maps = (process / "maps").read_text(errors="replace")
        except OSError:
            continue
        for name in _REGION.findall(maps):
            regions.pop(name, None)
    return set(regions.values())


def _owned(path: Path) -> bool:
    try:
        return path.stat().st_uid == os.geteuid()
    except FileNotFoundError:
        return False


def region_bytes(free_bytes: int) -> tuple[int, int]:
    """First size and growth of a stub's region, in bytes, where that much /dev/shm is free.

    The whole size is taken from memory at once and never given back, for each instance of each model. Small regions
    have to grow under the first load, which stalls requests; after that there is no difference. Docker gives a
    container 64 MiB, where regions of 16 MiB would leave no room for the third model.
    """
    if free_bytes >= 1024 * MIB:
        return 16 * MIB, 32 * MIB
    return MIB, MIB
