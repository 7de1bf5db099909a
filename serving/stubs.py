"""Dead processes of Python models, seen at once where the server runs on this machine, and orphaned ones, ended.

Triton 24.10 tells of a dead one only to who asks it, a second for each call, and never reaps it: a child of the server
that is a zombie has died by itself, since those that Triton ends it waits for.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from serving.namespaces import namespace
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
# How old the list of the children may be for a look in passing, and for one that follows another.
_PASSING_S = 1.0
_FOLLOWING_S = 0.1
_AT_ONCE = 1 << 16


class Stub(NamedTuple):
    """A process: that of which model, and version of it."""

    model: str
    version: int
    pid: int


class Stubs:
    """The processes of one server's Python models.

    Each of the server's threads, 130 for each process of a model, has a list of children of its own: to read them all
    takes ten milliseconds. Once the thread that started them is gone they are the first one's, so that a look in
    passing reads that list, and how those are that it knows.
    """

    def __init__(
        self, server_pid: int, proc: Path = Path("/proc"), *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._threads = proc / str(server_pid) / "task"
        self._first = self._threads / str(server_pid) / "children"
        self._proc = proc
        self._clock = clock
        self._listed: tuple[float, frozenset[str]] = (-math.inf, frozenset())
        self._known: dict[str, Stub] = {}
        self._lying: set[str] = set()
        self._told: set[str] = set()

    @property
    def left(self) -> int:
        """How many dead processes the server had not let go of at the last look."""
        return len(self._told)

    def died(self, *, in_passing: bool = False) -> frozenset[Stub]:
        """Those that have died since the last look; of the model UNNAMED where one lived only between two looks.

        A command line is gone with its process. What ended well may have been ended by Triton, which is about to take
        it away: it has died if it still lies there at the next look. `in_passing` may see a second late what is being
        started by a thread that lives on, and is cheap.
        """
        children = self._children(_PASSING_S if in_passing else 0.0)
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
        children = self._children(_FOLLOWING_S)
        stubs = (self._known.get(pid) or self._stub(pid) for pid in children if self._lives(pid))
        return sorted(stub.pid for stub in stubs if stub is not None and stub.model == model)

    def kept(self, model: str) -> list[int]:
        """The processes of one model that the server has: those that live now, and those known ones that have died."""
        known = self._known.copy().values()
        return sorted({*self.of(model), *(stub.pid for stub in known if stub.model == model)})

    def processor_s(self, model: str) -> float:
        """Seconds of processor time that the living processes of one model have taken."""
        spent = 0
        for pid in self.of(model):
            spent += sum(map(int, _stat(self._proc / str(pid))[11:13]))
        return spent / os.sysconf("SC_CLK_TCK")

    def _children(self, within_s: float) -> frozenset[str]:
        """The server's children. Of threads other than the first one the list may be as old as said."""
        listed_at, listed = self._listed
        now = self._clock()
        if within_s and now - listed_at <= within_s:
            return listed.union(_read(self._first).decode().split())
        children = (_read(f"{self._threads}/{thread}/children") for thread in _entries(self._threads))
        listed = frozenset(pid for line in children if line for pid in line.decode().split())
        self._listed = (now, listed)
        return listed

    def _stub(self, pid: str) -> Stub | None:
        match = _MODEL.search(_read(self._proc / pid / "cmdline"))
        return Stub(match[1].decode(), int(match[2]), int(pid)) if match else None

    def _lives(self, pid: str) -> bool:
        return _stat(self._proc / pid)[:1] not in ([], [b"Z"])

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
    """Whether it belongs to a server of ours, whose number it was told when it was started, and has lost it.

    In a container that number is the container's own. A server whose first thread has ended is lost, too: it keeps its
    children until the last one of its threads has, which takes a moment where it was killed.
    """
    binary, *told = _read(process / "cmdline").decode(errors="replace").split("\0")
    parent = _stat(process)[1:2]
    if not in_run_directory(binary) or len(told) <= _SERVER or not parent:
        return False
    proc, pid = process.parent, process.name
    lost = told[_SERVER].encode() != parent[0] or _stat(proc / parent[0].decode())[:1] == [b"Z"]
    return lost and namespace("pid", proc, pid) == namespace("pid", proc)


def _stat(process: Path) -> list[bytes]:
    """What the kernel tells of a process, from its state and its parent on; nothing of one that is gone."""
    # Before that comes its name, in parentheses, which may hold anything.
    return _read(process / "stat").rpartition(b")")[2].split()


def _entries(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _read(path: Path | str) -> bytes:
    """A file of /proc, which the kernel makes when it is read; nothing where it is gone."""
    try:
        # Thousands are read at a time. Path and buffered files would take half as long again.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return b"".join(iter(lambda: os.read(descriptor, _AT_ONCE), b""))
    except OSError:
        return b""
    finally:
        os.close(descriptor)
