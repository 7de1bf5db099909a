"""`load`, `unload`, `reload`, `switch`, `status`: the models of a running server."""

from __future__ import annotations

import argparse

from serving.commands.shared import Commands, add_command, control, say, show, with_address
from serving.errors import ModelError

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the commands."""
    for name, run, text in (
        ("load", _load, "load a model, or the versions that its config.pbtxt pins now"),
        ("unload", _unload, "drop a model, after its requests in flight"),
        ("reload", _reload, "unload and load: the only way back for a model whose process died, or hangs"),
        ("switch", _switch, "serve what a model's configurations pin now: ONNX twin, hybrid, then original"),
    ):
        command = add_command(commands, name, run, text)
        command.add_argument("name", metavar="NAME", help="the model")
        with_address(command)
    status = add_command(commands, "status", _status, "list the server's models: name, version, state, reason")
    status.add_argument(
        "--probe", action="store_true", help="also run each ready model once on zeros; a dead one still says READY"
    )
    with_address(status)


def _load(arguments: argparse.Namespace) -> int:
    with control(arguments) as server:
        before = server.ready(arguments.name)
        server.load(arguments.name)
    hint = "; it was before, so where it does not answer, `reload` it" if before else ""
    say(f"loaded {arguments.name}{hint}")
    return 0


def _unload(arguments: argparse.Namespace) -> int:
    with control(arguments) as server:
        server.unload(arguments.name)
    say(f"unloaded {arguments.name}")
    return 0


def _reload(arguments: argparse.Namespace) -> int:
    with control(arguments) as server:
        server.reload(arguments.name)
    say(f"unloaded and loaded {arguments.name}")
    return 0


def _switch(arguments: argparse.Namespace) -> int:
    with control(arguments) as server:
        names = server.switch(arguments.name)
    say(f"loaded {', then '.join(names)}")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    code = 0
    with control(arguments) as server:
        for one in server.index():
            cells = [one.name, "" if one.version is None else str(one.version), one.state or "UNLOADED", one.reason]
            if arguments.probe and one.ready:
                try:
                    cells.append(f"answers in {server.probe(one.name, one.version) * 1e3:.1f} ms")
                except ModelError as error:
                    cells.append(f"does not answer: {error.reason}")
                    code = error.exit_code
            show("\t".join(cells).rstrip())
    return code
