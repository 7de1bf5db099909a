"""The command line's options, help and exit codes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from .arrays import ArrayFileError
from .errors import (
    AccessDenied,
    ClientClosed,
    ConnectionLost,
    DeadlineExceeded,
    InvalidRequest,
    InvalidSettings,
    ModelNotFound,
    ModelNotReady,
    RequestCancelled,
    ServerError,
    ServerUnavailable,
    UnderstudyClientError,
)
from .settings import LOAD_TIMEOUT_S, TIMEOUT_S

__all__ = ["CONTROL_HEADERS", "CONTROL_KEY", "EXIT_CODES", "INTERRUPTED", "exit_code", "headers", "parser"]

INTERRUPTED = 130
# Where the key of a server's control API stands, which is nowhere for others to see as the command line is, and what
# deploy/serve.sh makes Triton ask for, with the prefix that it wants over gRPC.
CONTROL_KEY = "UNDERSTUDY_CONTROL_KEY"
CONTROL_HEADERS = {"grpc": "triton-grpc-protocol-understudy-control", "http": "understudy-control"}
# The commands that list models, and those that load them.
_BEHIND_THE_KEY = ("models", "stats", "load", "unload")

# Code, meaning, and the errors that end with it.
EXIT_CODES: tuple[tuple[int, str, tuple[type[UnderstudyClientError], ...]], ...] = (
    (0, "done", ()),
    (2, "the command line cannot be used", (InvalidSettings, ClientClosed)),
    (3, "the request is wrong, or was refused", (InvalidRequest, AccessDenied)),
    (4, "the model is not there, or not loaded", (ModelNotFound, ModelNotReady)),
    (5, "the server cannot be reached, has no room, or broke the connection", (ServerUnavailable, ConnectionLost)),
    (6, "no answer in time", (DeadlineExceeded,)),
    (7, "the server failed", (ServerError, RequestCancelled)),
    (8, "a file cannot be read or written", (ArrayFileError,)),
    (INTERRUPTED, "interrupted", ()),
)


def exit_code(error: UnderstudyClientError) -> int:
    """Return the exit code that belongs to an error."""
    return next(code for code, _, errors in EXIT_CODES if isinstance(error, errors))


def headers(asked: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of each request: the key for commands that may need it, and those of ``--header``, which win.

    Raises `InvalidSettings`.
    """
    found = {}
    key = environ.get(CONTROL_KEY, "") if asked.command in _BEHIND_THE_KEY else ""
    if not (key.isascii() and key.isprintable()):
        raise InvalidSettings(CONTROL_KEY, f"({len(key)} characters)", "printable ASCII on one line")
    if key:
        found[CONTROL_HEADERS[asked.protocol]] = key
    for item in asked.header:
        name, equals, value = item.partition("=")
        if not equals:
            raise InvalidSettings("--header", item, "NAME=VALUE")
        found[name.lower()] = value
    return found


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``understudy-client``; a chosen command is in ``command``."""
    codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning, _ in EXIT_CODES)
    top = argparse.ArgumentParser(
        prog="understudy-client",
        description="Ask a Triton server about its models, and ask its models.",
        epilog=f"exit codes:\n{codes}\nenvironment:\n  {CONTROL_KEY}  the key of the server's control API, "
        f"for {', '.join(_BEHIND_THE_KEY)}\n\nData goes to standard output, messages go to standard error.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared = _shared()

    def add(name: str, help_text: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=help_text,
            description=help_text[0].upper() + help_text[1:] + ".",
            parents=[shared],
            epilog=top.epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    add("models", "list the models of the server: versions, state, role and reason")
    _add_infer(add)
    stats = add("stats", "show the counters of hybrids and their twins, and the speedup")
    stats.add_argument(
        "models", nargs="*", metavar="NAME", help="a hybrid's name (default: every hybrid that is served)"
    )
    stats.add_argument(
        "--metrics", metavar="HOST:PORT", help="the server's metrics, such as 127.0.0.1:8002: tells what callers met"
    )
    for name, what in (("load", "load models, or what has changed of their files"), ("unload", "unload models")):
        verb = add(name, what)
        verb.add_argument("models", nargs="+", metavar="NAME", help="a model's name; several are taken in order")
    return top


def _shared() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    group = shared.add_argument_group("connection")
    group.add_argument("--url", metavar="HOST:PORT", help="the server (default: 127.0.0.1:8001, with http :8000)")
    group.add_argument("--protocol", choices=("grpc", "http"), default="grpc", help="how to talk to it (default: grpc)")
    group.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help=f"the longest wait for each answer (default: {TIMEOUT_S:g}; load and unload: {LOAD_TIMEOUT_S:g})",
    )
    group.add_argument(
        "--header", action="append", default=[], metavar="NAME=VALUE", help="a header for each request (repeatable)"
    )
    group.add_argument("--ssl", action="store_true", help="talk TLS and check the server's certificate")
    group.add_argument("--root-certificates", metavar="FILE", help="PEM of the roots to trust (default: the system's)")
    group.add_argument("--private-key", metavar="FILE", help="PEM of the client's own key")
    group.add_argument("--certificate-chain", metavar="FILE", help="PEM of the client's own certificate")
    shared.add_argument("--json", action="store_true", help="write JSON to standard output")
    return shared


def _add_infer(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    infer = add("infer", "send one request and show each output, who served it, and the milliseconds it took")
    infer.add_argument("file", nargs="?", metavar="FILE", help="a .npy for the only input, or a .npz named by input")
    infer.add_argument("--model", required=True, metavar="NAME", help="the model to ask")
    infer.add_argument("--version", default="", metavar="N", help="its version (default: the server's choice)")
    infer.add_argument(
        "--input", action="append", default=[], metavar="NAME=FILE", help="a .npy for one input (repeatable)"
    )
    infer.add_argument("--random", type=_positive, metavar="ROWS", help="no files: made-up values, that many rows")
    infer.add_argument(
        "--dynamic", type=_positive, default=1, metavar="SIZE", help="with --random: other open dimensions (default: 1)"
    )
    infer.add_argument("--seed", type=int, default=0, metavar="N", help="with --random: the values (default: 0)")
    infer.add_argument("--output", metavar="FILE", help="write all outputs whole to this .npz")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number
