"""The Python backend's regions in /dev/shm: how large to make them, and which a dead server left behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

PREFIX = "triton_python_backend_shm_region_"
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
    regions = {path for path in shm.glob(f"{PREFIX}*") if _owned(path)}
    if not regions:
        return regions
    names = {path.name: path for path in regions}
    for process in proc.glob("[0-9]*"):
        try:
            maps = (process / "maps").read_text(errors="replace")
        except OSError:
            continue
        for line in maps.splitlines():
            at = line.find(PREFIX)
            if at >= 0:
                regions.discard(names.get(line[at:].removesuffix(" (deleted)"), shm))
    return regions


def _owned(path: Path) -> bool:
    try:
        return path.stat().st_uid == os.geteuid()
    except FileNotFoundError:
        return False


def region_bytes(free_bytes: int) -> tuple[int, int]:
    """First size and growth of a stub's region, in bytes, for that much free /dev/shm.

    Large regions save the growing, which stalls requests; they never shrink. Docker gives a container 64 MiB, where
    regions of 128 MiB would leave no room for the second model.
    """
    if free_bytes >= 2048 * MIB:
        return 128 * MIB, 64 * MIB
    if free_bytes >= 512 * MIB:
        return 16 * MIB, 16 * MIB
    return MIB, MIB
