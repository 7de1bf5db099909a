"""Processor time, read from /proc: what a server's processes took, and what others took beside them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """Seconds of processor time since the machine started: all of it, the busy part, the server's, and our own."""

    total: float
    busy: float
    server: float
    own: float


def sample(server_pid: int | None, proc: Path = Path("/proc")) -> Sample:
    """Read the counters now. Without a pid the server's part is 0."""
    fields = [int(field) / _TICKS for field in (proc / "stat").read_text().splitlines()[0].split()[1:9]]
    total = sum(fields)
    idle = fields[3] + fields[4]
    times = os.times()
    server = 0.0 if server_pid is None else seconds_of(family(server_pid, proc), proc)
    return Sample(total, total - idle, server, times.user + times.system)


def seconds_of(members: Iterable[int], proc: Path = Path("/proc")) -> float:
    """What processes took since they started, and those of their children that have ended."""
    return sum(_seconds(proc, pid) for pid in members)


def family(pid: int, proc: Path = Path("/proc")) -> set[int]:
    """A process and all that descend from it."""
    parents = {int(path.name): _parent(path) for path in proc.glob("[0-9]*")}
    members = {pid}
    while more := {child for child, parent in parents.items() if parent in members} - members:
        members |= more
    return members


def others_share(before: Sample, after: Sample) -> float:
    """The part of the machine's processor time, 0 to 1, that neither the server nor this process took."""
    ours = (after.server - before.server) + (after.own - before.own)
    elapsed = after.total - before.total
    return max(0.0, (after.busy - before.busy - ours) / elapsed) if elapsed else 0.0


def _fields(path: Path) -> list[str]:
    # The name in parentheses may hold spaces; what follows it may not.
    return (path / "stat").read_text().rpartition(")")[2].split()


def _parent(path: Path) -> int | None:
    try:
        return int(_fields(path)[1])
    except OSError:
        return None


def _seconds(proc: Path, pid: int) -> float:
    try:
        fields = _fields(proc / str(pid))
    except OSError:
        return 0.0
    # In user mode and in the kernel: its own, and its children's that it has waited for.
    return sum(map(int, fields[11:15])) / _TICKS
