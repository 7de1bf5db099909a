#!/usr/bin/env python3
"""Tell every pod of a release, or ask every pod for it: a Service would pass it on to one of them.

    every_pod.py load NAME…      load what config.pbtxt pins now; UNDERSTUDY_CONTROL_KEY is the key
    every_pod.py verify NAME…    replay the golden samples of the served release through both twins and the hybrid

The pods are the addresses of --service. A line a pod and model goes to standard output. Exit code 0: every pod did it;
1: one did not, and standard error says which and why; 2: usage, or no pod.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from conversion.commands.live_server import TritonOverGrpc
from conversion.errors import ConversionError, PublishError
from conversion.publishing.live_replay import golden_of, replay_hybrid, replay_twins
from conversion.publishing.repository import Repository
from serving.control import ModelControl
from serving.errors import ServingError


def pods(service: str, port: int) -> list[str]:
    """The address of every pod that is ready, host:port. Raises OSError where the name is not known.

    A pod that the service has by both IPv4 and IPv6 is there twice, and asked twice, which does no harm.
    """
    found = {str(address[4][0]) for address in socket.getaddrinfo(service, port, type=socket.SOCK_STREAM)}
    return sorted(f"[{one}]:{port}" if ":" in one else f"{one}:{port}" for one in found)


def load(address: str, name: str) -> str:
    """Load the three models of `name`; the first that fails ends it. Raises ServingError."""
    with ModelControl.from_environment(address) as control:
        control.switch(name)
    return "loaded"


def verify(address: str, name: str, root: Path) -> str:
    """Replay the golden samples; which twin answered for the hybrid. Raises ConversionError for what differs."""
    repository = Repository(root)
    version = repository.served(name)
    golden = None if version is None else golden_of(repository.release_folder(name, "hybrid", version))
    if version is None or golden is None:
        raise PublishError(f"{root} holds no golden samples of '{name}'; publish it with convert")
    server = TritonOverGrpc(address)
    replay_twins(server, name, version, golden)
    return f"release {version} holds, answered by {replay_hybrid(server, name, version, golden)}"


def on_each(addresses: Sequence[str], names: Sequence[str], do: Callable[[str, str], str]) -> bool:
    """Do it for each pod and model, the failures too; whether all went well."""
    well = True
    for address in addresses:
        for name in names:
            try:
                sys.stdout.write(f"{address}\t{name}\t{do(address, name)}\n")
            except (ConversionError, ServingError) as error:
                sys.stderr.write(f"{address}: {name}: {error}\n")
                well = False
    return well


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=["load", "verify"])
    parser.add_argument("names", nargs="+", metavar="NAME", help="the models' public names")
    parser.add_argument("--service", default="understudy-headless", help="name of every pod's address (%(default)s)")
    parser.add_argument("--port", type=int, default=8001, help="gRPC (%(default)s)")
    parser.add_argument("--repository", type=Path, default=Path("/models"), help="(%(default)s)")
    given = parser.parse_args(arguments)
    try:
        addresses = pods(given.service, given.port)
    except OSError as error:
        sys.stderr.write(f"{given.service}: expected the addresses of pods that are ready, found {error}\n")
        return 2
    do = load if given.do == "load" else partial(verify, root=given.repository)
    return 0 if on_each(addresses, given.names, do) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
