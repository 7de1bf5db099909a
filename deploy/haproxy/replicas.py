#!/usr/bin/env python3
"""Take a replica out of HAProxy and put it back, without losing a request; see who is there.

    replicas.py status          a line a replica: its state, requests in flight, requests so far
    replicas.py drain NAME      send it nothing more; return when it has answered what it had
    replicas.py enable NAME     send it requests again, once its check succeeds; return when it is up

Exit code 0: done; 1: not done within --wait; 2: no such replica, or no HAProxy at the socket. Standard library alone.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_PAUSE_S = 0.1
_BACKENDS = ("http", "grpc")


class NoAnswer(Exception):
    """HAProxy is not there, or does not do what it is told."""


@dataclass(frozen=True)
class Replica:
    """One server in both backends; `states` in HAProxy's words, http first."""

    name: str
    states: tuple[str, ...]
    in_flight: int
    answered: int


def command(path: str, text: str) -> str:
    """Send one line to HAProxy's socket and return what it says. Raises NoAnswer."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5.0)
            connection.connect(path)
            connection.sendall(f"{text}\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode().strip()
    except OSError as error:
        raise NoAnswer(f"{path}: expected HAProxy's socket, found {type(error).__name__}: {error}") from error


def replicas(path: str) -> list[Replica]:
    """Every replica, from HAProxy's statistics."""
    rows = list(csv.DictReader(io.StringIO(command(path, "show stat").removeprefix("# "))))
    servers = [row for row in rows if row["pxname"] in _BACKENDS and row["svname"] != "BACKEND"]
    return [
        Replica(
            name,
            tuple(row["status"] for backend in _BACKENDS for row in servers if _is(row, backend, name)),
            sum(int(row["scur"]) for row in servers if row["svname"] == name),
            sum(int(row["stot"]) for row in servers if row["svname"] == name),
        )
        for name in dict.fromkeys(row["svname"] for row in servers)
    ]


def _is(row: dict[str, str], backend: str, name: str) -> bool:
    return (row["pxname"], row["svname"]) == (backend, name)


def set_state(path: str, name: str, state: str) -> None:
    """Set the state in the backend that is checked; the other one tracks it. Raises NoAnswer."""
    if complaint := command(path, f"set server {_BACKENDS[0]}/{name} state {state}"):
        raise NoAnswer(f"{name}: {complaint}")


def drained(replica: Replica) -> bool:
    """Whether it gets nothing more and has answered everything."""
    return not replica.in_flight and not any(state.startswith("UP") for state in replica.states)


def up(replica: Replica) -> bool:
    """Whether it gets requests over both protocols and goes on to: "UP 1/2" has failed a check and may fall any moment.

    A check that began before a replica was back fails after it, and on a busy machine long after it.
    """
    return all(state == "UP" for state in replica.states)


def wait(path: str, name: str, done: Callable[[Replica], bool], wait_s: float) -> bool:
    """Wait until the replica is as it should be; whether it came to that. Raises NoAnswer where HAProxy never tells."""
    end = time.monotonic() + wait_s
    while True:
        try:
            if any(done(replica) for replica in replicas(path) if replica.name == name):
                return True
        except NoAnswer:
            # It may have too much to do to answer in time; the replica's state is set already.
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            return False
        time.sleep(_PAUSE_S)


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=["status", "drain", "enable"])
    parser.add_argument("name", nargs="?", help="the replica, as haproxy.cfg names it")
    usual = os.environ.get("UNDERSTUDY_HAPROXY_SOCKET", "/run/haproxy/understudy.sock")
    parser.add_argument("--socket", default=usual, help="HAProxy's socket, or UNDERSTUDY_HAPROXY_SOCKET (%(default)s)")
    parser.add_argument("--wait", type=float, default=60.0, help="seconds to wait at most (%(default)s)")
    given = parser.parse_args(arguments)
    try:
        if given.do == "status":
            for one in replicas(given.socket):
                states = "/".join(dict.fromkeys(one.states))
                sys.stdout.write(f"{one.name}\t{states}\tin flight {one.in_flight}\tanswered {one.answered}\n")
            return 0
        if given.name is None:
            parser.error(f"{given.do} needs the name of a replica")
        state, done = {"drain": ("drain", drained), "enable": ("ready", up)}[given.do]
        set_state(given.socket, given.name, state)
        if wait(given.socket, given.name, done, given.wait):
            return 0
    except NoAnswer as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stderr.write(f"{given.name}: not done after {given.wait:g} s; `status` shows what it is\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
