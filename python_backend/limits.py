"""What the machine, and the control groups around this process, leave to it. A container is limited by groups alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["available_cores", "available_memory", "cpu_quota", "memory_left"]

_CGROUP = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_MEMINFO = Path("/proc/meminfo")


def available_cores(cgroup: Path = _CGROUP, own: Path = _OWN) -> int:
    """Cores that this process may use: its affinity, or the quota of its groups where that is less. At least 1."""
    cores, quota = len(os.sched_getaffinity(0)), cpu_quota(cgroup, own)
    return cores if quota is None else max(1, min(cores, int(quota)))


def cpu_quota(cgroup: Path = _CGROUP, own: Path = _OWN) -> float | None:
    """The least limit in cores, or None where there is none."""
    quotas = [_numbers(group / "cpu.max") for group in _groups(cgroup, "", own)]
    for group in _groups(cgroup, "cpu", own):
        quotas.append(_numbers(group / "cpu.cfs_quota_us", group / "cpu.cfs_period_us"))
    return min((limit / period for limit, period in filter(None, quotas) if period), default=None)


def memory_left(cgroup: Path = _CGROUP, own: Path = _OWN) -> int | None:
    """Bytes up to the limit that is the nearest, or None where there is none."""
    left = []
    for group in _groups(cgroup, "", own):
        left += _left(group, ("memory.max", "memory.current"), "")
    for group in _groups(cgroup, "memory", own):
        left += _left(group, ("memory.limit_in_bytes", "memory.usage_in_bytes"), "total_")
    return min(left, default=None)


def available_memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP, own: Path = _OWN) -> int:
    """Bytes that can be had without swapping: what the machine has, but no more than the groups allow."""
    machine = _named(meminfo, "MemAvailable:") * 1024
    left = memory_left(cgroup, own)
    return machine if left is None else min(machine, left)


def _groups(cgroup: Path, controller: str, own: Path) -> Iterator[Path]:
    """The folders of this process's group and of those around it, since each may limit it.

    Version 1 has a tree of them for each controller; without one it is version 2's. In a container the outermost folder
    may be that of its own group, whatever that is called outside.
    """
    inside = PurePosixPath("/")
    for line in _text(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            inside = PurePosixPath(path)
    # ".." is a group outside of what the container may see.
    parts = () if ".." in inside.parts else inside.parts[1:]
    for depth in range(len(parts), -1, -1):
        yield (cgroup / controller).joinpath(*parts[:depth])


def _left(group: Path, names: tuple[str, str], totals: str) -> list[int]:
    """The bytes that a group has left, or nothing where it has no limit.

    Its page cache is given up before it goes without, and the kernel's MemAvailable counts that in as well.
    """
    found = _numbers(*(group / name for name in names))
    if not found:
        return []
    limit, used = found
    cache = sum(_named(group / "memory.stat", f"{totals}{kind}_file") for kind in ("inactive", "active"))
    return [max(0, limit - max(0, used - cache))]


def _numbers(*files: Path) -> list[int]:
    """Two numbers, in one file or two; none where there is no such file, or no limit, which is "max" or -1."""
    words = [word for file in files for word in _text(file).split()]
    return [int(word) for word in words] if len(words) == 2 and all(map(str.isdigit, words)) else []


def _named(table: Path, name: str) -> int:
    """The number after a name, in a file with a line for each; 0 where it is not there."""
    words = _text(table).split()
    return int(words[words.index(name) + 1]) if name in words else 0


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
