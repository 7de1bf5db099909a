"""`watch`: keep the models of a running server alive, whoever started it."""

from __future__ import annotations

import argparse
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from serving.commands.shared import Commands, add_command, control, running, say, show, with_address
from serving.ending import interruptible
from serving.ports import LOOPBACK, choose
from serving.stubs import Stubs
from serving.watch.care import Policy
from serving.watch.rounds import Watch
from serving.watch.telling import Telling

__all__ = ["add", "policy_of", "told_on", "with_watching"]


def add(commands: Commands) -> None:
    """Add the command."""
    text = "probe the models of a running server, and unload and load what is dead, until Ctrl-C"
    watch = add_command(commands, "watch", _watch, text)
    watch.add_argument(
        "--repository",
        type=Path,
        metavar="DIR",
        help="model repository whose golden samples are asked (default: that of the state file's server, else zeros)",
    )
    watch.add_argument(
        "--models",
        metavar="A,B",
        help="look after only these, comma-separated; name a hybrid's twins too (default: all that serve)",
    )
    with_watching(watch)
    with_address(watch)


def with_watching(parser: argparse.ArgumentParser) -> None:
    """How it is watched."""
    policy = Policy()
    parser.add_argument(
        "--watch-port",
        type=int,
        default=8003,
        metavar="PORT",
        help="port for the watch's own metrics, 0 for a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--interval",
        type=float,
        default=policy.interval_s,
        metavar="SECONDS",
        help="time between two looks (default: %(default)s)",
    )
    parser.add_argument(
        "--probe-timeout",
        type=float,
        default=policy.timeout_s,
        metavar="SECONDS",
        help="what a probe may take (default: %(default)s)",
    )


def policy_of(arguments: argparse.Namespace) -> Policy:
    """What the arguments ask for."""
    return Policy(interval_s=arguments.interval, timeout_s=arguments.probe_timeout)


@contextlib.contextmanager
def told_on(port: int) -> Iterator[Telling]:
    """Tells on standard error, and on a port of this machine (0 is a free one). Raises PortTaken, PortNotOpened."""
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    chosen = choose({"watch": port or None})["watch"]
    server, thread = start_http_server(chosen, LOOPBACK, registry)
    show(f"watch\thttp://{LOOPBACK}:{chosen}/metrics")
    try:
        yield Telling(lambda text: say(f"watch: {text}"), registry)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _watch(arguments: argparse.Namespace) -> int:
    interruptible()
    state = running(arguments)
    repository = arguments.repository or (Path(state.repository) if state is not None else None)
    only = None if arguments.models is None else frozenset(filter(None, arguments.models.split(",")))
    with control(arguments) as server:
        # A mistyped address is said at once; a server that goes later is waited for.
        server.index()
        with told_on(arguments.watch_port) as telling, contextlib.suppress(KeyboardInterrupt):
            stubs = None if state is None else Stubs(state.pid)
            watch = Watch(server, telling, policy=policy_of(arguments), repository=repository, only=only, stubs=stubs)
            watch.run(threading.Event())
    say("no longer watching; the server runs on")
    return 0
