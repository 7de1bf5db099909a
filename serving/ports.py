"""Loopback ports: find free ones, and say who holds a taken one before a server is started on it."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from serving.errors import PortNotOpened, PortTaken, UsageError

LOOPBACK = "127.0.0.1"
_LISTEN = "0A"


def choose(wanted: Mapping[str, int | None]) -> dict[str, int]:
    """A port for each service: the one asked for, or a free one for None.

    Raises PortTaken when one that was asked for is held, PortNotOpened when the system does not give it to this user,
    UsageError when one is out of range or asked for twice.
    """
    given = [port for port in wanted.values() if port is not None]
    for service, port in wanted.items():
        if port is not None and not 0 < port < 65536:
            raise UsageError(f"--{service}-port {port}: a port is a number from 1 to 65535")
    if len(set(given)) != len(given):
        raise UsageError(f"ports {', '.join(map(str, given))}: each service needs a port of its own")
    with contextlib.ExitStack() as held:
        chosen = {}
        # All are held at once, or the system could hand out the same free one twice.
        for service, port in wanted.items():
            taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            held.callback(taken.close)
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                taken.bind((LOOPBACK, port or 0))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise PortNotOpened(service, port or 0, error) from error
                raise PortTaken(service, port or 0, holder(port or 0)) from error
            chosen[service] = int(taken.getsockname()[1])
    return chosen


def holder(port: int) -> str | None:
    """'process 12 (name)' for the one that listens on `port`, or None when this user may not see it."""
    inodes = {
        fields[9]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for fields in _rows(Path(table))
        if fields[3] == _LISTEN and int(fields[1].rsplit(":", 1)[1], 16) == port
    }
    for process, target in _sockets() if inodes else ():
        if target.removeprefix("socket:[").removesuffix("]") in inodes:
            with contextlib.suppress(OSError):
                return f"process {process.name} ({(process / 'comm').read_text().strip()})"
    return None


def _rows(table: Path) -> Iterator[list[str]]:
    with contextlib.suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            yield line.split()


def _sockets() -> Iterator[tuple[Path, str]]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    target = str(descriptor.readlink())
                    if target.startswith("socket:["):
                        yield process, target
