"""What the commands share: the address of a server, the state file, and how they speak."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from serving.control import ModelControl
from serving.ending import drop
from serving.state import STATE_FILE, RunningServer, read_state

# What `ArgumentParser.add_subparsers` gives.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

EXIT_CODES = """exit codes:
  0    done; for `serve`: stopped by Ctrl-C, SIGTERM or SIGHUP
  1    any other error
  2    usage: an argument or the repository is wrong; with --strict also one config.pbtxt
  3    this machine lacks something (Triton, a shared libpython: `python -m serving.doctor` tells what), or the state
       file cannot be written
  4    a port is taken, or the state file, by another server that runs
  5    tritonserver ended by itself, again and again, or did not become live
  6    the server refused to load, unload or run a model, or does not know it
  7    no server answers
  8    the server's control API is behind a key, and UNDERSTUDY_CONTROL_KEY is not that
  9    the server answers, and cannot list its model repository
  130  interrupted before the server was up, or by Ctrl-C while it was stopping
environment, for a server that --grpc-url names:
  UNDERSTUDY_CONTROL_KEY  the key of the control API
  UNDERSTUDY_CA           file with the certificates to trust, where gRPC is served over TLS
"""
_DEFAULT_GRPC = "127.0.0.1:8001"


def add_command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """Add a command that `run` carries out; it gives the exit code."""
    formatter = argparse.RawDescriptionHelpFormatter
    added = commands.add_parser(name, help=text, description=text, epilog=EXIT_CODES, formatter_class=formatter)
    added.set_defaults(run=run)
    return added


def with_state(parser: argparse.ArgumentParser) -> None:
    """The state file."""
    parser.add_argument(
        "--state",
        type=Path,
        default=STATE_FILE,
        metavar="FILE",
        help="file that tells where the server runs (default: %(default)s)",
    )


def with_address(parser: argparse.ArgumentParser) -> None:
    """Which server is meant."""
    parser.add_argument(
        "--grpc-url",
        metavar="HOST:PORT",
        help=f"the server (default: the one in the state file, else {_DEFAULT_GRPC})",
    )
    with_state(parser)


def running(arguments: argparse.Namespace) -> RunningServer | None:
    """The server in the state file; None where another one is meant."""
    return None if arguments.grpc_url is not None else read_state(arguments.state)


def control(arguments: argparse.Namespace) -> ModelControl:
    """A connection to the server that is meant. Raises UsageError."""
    if arguments.grpc_url is not None:
        return ModelControl.from_environment(arguments.grpc_url)
    found = running(arguments)
    return ModelControl(found.grpc_url if found is not None else _DEFAULT_GRPC)


def say(message: str) -> None:
    """A message: data goes to standard output, messages go to standard error.

    One that cannot be written is lost: a terminal that is gone, or a full disk, ends no server.
    """
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def show(line: str) -> None:
    """A line of data about a server that serves on, whether or not anybody reads it."""
    try:
        print(line, flush=True)
    except OSError:
        drop(sys.stdout)
