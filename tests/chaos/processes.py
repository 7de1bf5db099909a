"""What a server's processes hold: memory, mappings, threads, zombies, and the regions in /dev/shm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SHM = Path("/dev/shm")


@dataclass(frozen=True)
class Held:
    """Sums over a server and all of its stubs. Sizes are in megabytes."""

    rss_mb: float
    shm_mb: float
    mappings: int
    threads: int
    zombies: int


def family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid, *(int(child) for path in children for child in path.read_text().split())]


def held(server_pid: int) -> Held:
    """What a running server holds now."""
    statuses = [_status(pid) for pid in family(server_pid)]
    living = [status for status in statuses if status.get("State", "Z")[0] != "Z"]
    maps = [_lines(Path(f"/proc/{status['Pid']}/maps")) for status in living]
    return Held(
        # Shared memory is counted by itself: every process that maps it would count it again.
        rss_mb=sum(_kib(status, "RssAnon") + _kib(status, "RssFile") for status in living) * 1024 / 1e6,
        shm_mb=sum(path.stat().st_blocks * 512 for path in SHM.glob("triton_*")) / 1e6,
        mappings=sum(maps),
        threads=sum(int(status["Threads"]) for status in living),
        zombies=len(statuses) - len(living),
    )


def threads(pid: int) -> int:
    """The threads of one process."""
    return int(_status(pid)["Threads"])


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return dict((key, value.strip()) for key, _, value in (line.partition(":") for line in lines))


def _kib(status: dict[str, str], key: str) -> int:
    return int(status.get(key, "0 kB").split()[0])


def _lines(path: Path) -> int:
    try:
        return path.read_text(errors="replace").count("\n")
    except OSError:
        return 0
