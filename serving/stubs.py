"""Dead processes of Python models, seen at once where the server runs on this machine, and orphaned ones, ended.

Triton 24.10 tells of a dead one only to who asks it, a second for each call, and never reaps it: a child of the server
that is a zombie has died by itself, since those that Triton ends it waits for.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path
from typing import NamedTuple

from serving.run_directory import in_run_directory

# How the Python backend starts one: …/triton_python_backend_stub …/NAME/VERSION/model.py …, or model.onnx where a
# backend is written in Python itself.
_MODEL = re.compile(rb"/([^/\0]+)/(\d+)/[^/\0]+\.[^/.\0]+\0")
# What the kernel calls it, cut off as it does that, and what stays of one that died before it was looked at.
_NAME = b"triton_python_b"
UNNAMED = ""
# Where the kernel tells what a process ended with, counted from its state on.
_EXIT_CODE = 49
# Of what comes after the binary: model, region, its size and growth, and then the server's process id.
_SERVER = 4
_GONE_WITHIN_S = 2.0


class Stub(NamedTuple):
    """A process: that of which model, and version of it."""

    model: str
    version: int
    pid: int


class Stubs:
    """The processes of one server's Python models. Looking costs a few reads of /proc."""

    def __init__(self, server_pid: int, proc: Path = Path("/proc")) -> None:
        self._server = proc / str(server_pid)
        self._proc = proc
        self._known: dict[str, Stub] = {}
        self._lying: set[str] = set()
        self._told: set[str] = set()

    @property
    def left(self) -> int:
        """How many dead processes the server had not let go of at the last look."""
        return len(self._told)

    def died(self) -> frozenset[Stub]:
        """Those that have died since the last look; of the model UNNAMED where one lived only between two looks.

        A command line is gone with its process. What ended well may have been ended by Triton, which is about to take
        it away: it has died if it still lies there at the next look.
        """
        children = self._children()
        self._known = {pid: stub for pid, stub in self._known.items() if pid in children}
        self._told &= children
        found, lying = set(), set()
        for pid in children - self._told:
            if pid not in self._known and (stub := self._stub(pid)):
                self._known[pid] = stub
            stat = _stat(self._proc / pid)
            if stat[:1] != [b"Z"] or not (pid in self._known or self._is_stub(pid)):
                continue
            lying.add(pid)
            if pid in self._lying or stat[_EXIT_CODE:] not in ([], [b"0"]):
                self._told.add(pid)
                found.add(self._known.get(pid, Stub(UNNAMED, 0, int(pid))))
        self._lying = lying
        return frozenset(found)

    def of(self, model: str) -> list[int]:
        """The processes of one model that live now."""
        stubs = (self._stub(pid) for pid in self._children() if not self._is_zombie(pid))
        return sorted(stub.pid for stub in stubs if stub is not None and stub.model == model)

    def processor_s(self, model: str) -> float:
        """Seconds of processor time that the living processes of one model have taken."""
        spent = 0
        for pid in self.of(model):
            spent += sum(map(int, _stat(self._proc / str(pid))[11:13]))
        return spent / os.sysconf("SC_CLK_TCK")

    def _children(self) -> set[str]:
        return {pid for path in self._server.glob("task/*/children") for pid in _read(path).decode().split()}

    def _stub(self, pid: str) -> Stub | None:
        match = _MODEL.search(_read(self._proc / pid / "cmdline"))
        return Stub(match[1].decode(), int(match[2]), int(pid)) if match else None

    def _is_zombie(self, pid: str) -> bool:
        return _stat(self._proc / pid)[:1] == [b"Z"]

    def _is_stub(self, pid: str) -> bool:
        return _read(self._proc / pid / "comm").rstrip(b"\n") == _NAME


def end_orphans(proc: Path = Path("/proc")) -> list[int]:
    """End the processes of servers that were killed with their owner, and return their numbers.

    Such a process ends by itself once it serves. One that was just being started waits for its server for ever, and
    keeps its shared memory.
    """
    ended = []
    for process in proc.glob("[0-9]*"):
        # Another user's are left to them.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if _is_orphan(process):
                os.kill(int(process.name), signal.SIGKILL)
                ended.append(process)
    # It is let go of a moment after that, and what it held with it.
    deadline = time.monotonic() + _GONE_WITHIN_S
    while any(map(_is_orphan, ended)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return [int(process.name) for process in ended]


def _is_orphan(process: Path) -> bool:
    """Whether it belongs to a server of ours, whose number it was told when it was started, and has lost it."""
    binary, *told = _read(process / "cmdline").decode(errors="replace").split("\0")
    parent = _stat(process)[1:2]
    if not in_run_directory(binary) or len(told) <= _SERVER or not parent:
        return False
    return told[_SERVER].encode() != parent[0]


def _stat(process: Path) -> list[bytes]:
    """What the kernel tells of a process, from its state and its parent on; nothing of one that is gone."""
    # Before that comes its name, in parentheses, which may hold anything.
    return _read(process / "stat").rpartition(b")")[2].split()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
