"""The file that tells where a server runs, so that `load`, `status` and a client find it without being told."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from serving.errors import StateNotWritten, StateTaken
from serving.ports import LOOPBACK

STATE_FILE = Path("build/server.json")


@dataclass(frozen=True)
class RunningServer:
    """A server that runs: addresses as host:port, its process, its repository and its log."""

    http_url: str
    grpc_url: str
    metrics_url: str
    pid: int
    started_ticks: int
    repository: str
    log: str


def started_ticks(pid: int) -> int | None:
    """When `pid` was started, in clock ticks since boot, or None when there is no such process.

    With the number it names a process for good: numbers are used again.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name, in parentheses, may hold anything; what follows the last one is fields 3 and on.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def running_server(pid: int, ports: Mapping[str, int], repository: Path, log: Path) -> RunningServer | None:
    """What the file tells of a server on this machine; None where its process has ended."""
    ticks = started_ticks(pid)
    if ticks is None:
        return None
    return RunningServer(
        http_url=f"{LOOPBACK}:{ports['http']}",
        grpc_url=f"{LOOPBACK}:{ports['grpc']}",
        metrics_url=f"{LOOPBACK}:{ports['metrics']}",
        pid=pid,
        started_ticks=ticks,
        repository=str(repository.resolve()),
        log=str(log.resolve()),
    )


def write_state(path: Path, server: RunningServer) -> None:
    """Write it whole or not at all. Raises StateTaken where it tells of another one that runs, StateNotWritten."""
    refuse_another(path, server.pid)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(asdict(server), indent=2) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise StateNotWritten(path, error.strerror or str(error)) from error


def read_state(path: Path = STATE_FILE) -> RunningServer | None:
    """The server that runs, or None when there is no file, it is not readable as one, or its process is gone."""
    try:
        server = RunningServer(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return server if started_ticks(server.pid) == server.started_ticks else None


def refuse_another(path: Path, pid: int | None = None) -> None:
    """Raise StateTaken where the file tells of a server that runs, and is not `pid`."""
    found = read_state(path)
    if found is not None and found.pid != pid:
        raise StateTaken(path, found.pid, found.http_url)


def clear_state(path: Path, pid: int) -> None:
    """Remove the file, if it still tells of the server `pid`."""
    try:
        if json.loads(path.read_text(encoding="utf-8"))["pid"] == pid:
            path.unlink()
    except (OSError, ValueError, TypeError, KeyError):
        return
