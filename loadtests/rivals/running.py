"""The FastAPI server as a process, for as long as it is measured."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loadtests import direct
from loadtests.processes import end
from loadtests.rivals.session import calls_for
from serving.ports import LOOPBACK, choose

_START_S = 60.0
_STOP_S = 10.0
_LOOK_EVERY_S = 0.1


class RivalFailed(Exception):
    """The server did not start: its last words."""


@dataclass(frozen=True)
class Rival:
    """Where it listens, as host:port, and its process id."""

    address: str
    pid: int


@contextlib.contextmanager
def fastapi_server(graph: Path, users: int) -> Iterator[Rival]:
    """Serve `graph` with as many calls at a time as suit so many users. Raises RivalFailed."""
    port = choose({"http": None})["http"]
    address = f"{LOOPBACK}:{port}"
    command = [sys.executable, "-m", "loadtests.rivals.fastapi_server", str(graph)]
    command += ["--port", str(port), "--calls", str(calls_for(users))]
    with tempfile.TemporaryFile("w+") as said:
        # A group of its own: Ctrl-C is ours to pass on, once.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, process_group=0)
        try:
            if not _answers(f"http://{address}/healthz", process):
                said.seek(0)
                raise RivalFailed(f"the FastAPI server did not start: {(said.read().splitlines() or ['no word'])[-1]}")
            yield Rival(address, process.pid)
        finally:
            end(process, _STOP_S)


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            direct.read(url, timeout_s=1.0)
        except OSError:
            time.sleep(_LOOK_EVERY_S)
        else:
            return True
    return False
