"""What several commands share: their options, the folders that they mean, and how they speak."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from ..ending import drop
from ..errors import ConversionError
from ..spec.reader import SPEC_FILE

# What `ArgumentParser.add_subparsers` gives.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

__all__ = [
    "Commands",
    "add_command",
    "fail",
    "folders",
    "interrupted",
    "note",
    "progress",
    "say",
    "show",
    "with_build",
    "with_folders",
    "with_progress",
    "with_repository",
]

_DEFAULT_MODELS = Path("models")
# The exit code of a command that was interrupted.
_INTERRUPTED = 130


def add_command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """Add a command that `run` carries out; it gives the exit code."""
    added = commands.add_parser(name, help=text, description=text)
    added.set_defaults(run=run)
    return added


def with_folders(added: argparse.ArgumentParser) -> None:
    """Folders of models."""
    added.add_argument("folders", nargs="*", type=Path, help="folders with a model.toml (every one in models/)")


def with_repository(added: argparse.ArgumentParser) -> None:
    """The model repository."""
    added.add_argument(
        "--repository", type=Path, default=Path("model_repository"), help="the model repository (%(default)s)"
    )


def with_build(added: argparse.ArgumentParser) -> None:
    """Where files that can be made again lie."""
    added.add_argument("--build", type=Path, default=Path("build"), help="folder for work and logs (%(default)s)")


def folders(arguments: argparse.Namespace) -> list[Path]:
    """The folders named, or all there are; an empty list after saying that there is none."""
    found: list[Path] = arguments.folders or sorted(path.parent for path in _DEFAULT_MODELS.glob(f"*/{SPEC_FILE}"))
    if not found:
        say(f"error: no model given, and no {SPEC_FILE} below {_DEFAULT_MODELS}/; name a folder with a {SPEC_FILE}")
    return found


def with_progress(added: argparse.ArgumentParser) -> None:
    """Whether progress is shown."""
    added.add_argument("--quiet", action="store_true", help="show no progress")


def progress(name: str, arguments: argparse.Namespace) -> Callable[[str], None]:
    """Says each step as it begins, and how long after the first it does: "[name 1:05] step"."""
    if arguments.quiet:
        return lambda _step: None
    start = time.monotonic()

    def told(step: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - start), 60)
        say(f"[{name} {minutes}:{seconds:02}] {step}")

    return told


def show(data: object) -> None:
    """What was asked for, on standard output. That whoever reads it has ended undoes nothing, and stops nothing."""
    try:
        print(data, flush=True)
    except BrokenPipeError:
        drop(sys.stdout)


def note(text: str) -> None:
    """A message on what was done, or left undone, beside what was asked for."""
    say(f"note: {text}")


def fail(error: ConversionError | OSError, undone: str = "") -> int:
    """Say what failed; gives the exit code. What the system refuses does not tell itself what is `undone` for it."""
    if isinstance(error, ConversionError):
        code = error.exit_code
        say(f"error: {error}")
    else:
        code = 1
        found = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        say(f"error: {undone}{found}")
    return _INTERRUPTED if interrupted(error) else code


def interrupted(error: BaseException) -> bool:
    """Whether an interrupt is what the error came of, or came while that was undone: nothing more is wanted then."""
    chain = [error]
    for one in chain:
        chain += [other for other in (one.__cause__, one.__context__) if other is not None and other not in chain]
    return any(isinstance(one, KeyboardInterrupt) for one in chain)


def say(text: str) -> None:
    """A message: data goes to standard output, messages go to standard error.

    One that cannot be written is lost: a terminal that is gone says nothing of a release.
    """
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
