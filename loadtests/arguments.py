"""What the command lines of this package have in common."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path

__all__ = ["count", "destination", "parser", "say", "seconds", "write"]


def count(text: str) -> int:
    """An argument that is a whole number above 0. Raises argparse.ArgumentTypeError."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return int(text)


def seconds(text: str) -> float:
    """An argument that is a number of seconds above 0. Raises argparse.ArgumentTypeError."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds above 0")
    return found


def destination(text: str) -> Path:
    """An argument that names a file to write in the end. Raises argparse.ArgumentTypeError where that would fail."""
    path = Path(text)
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    if path.is_dir() or (there != path and not there.is_dir()) or not os.access(there, os.W_OK):
        raise argparse.ArgumentTypeError(f"'{text}' cannot be written; name a file in a folder of yours")
    return path


def say(text: str) -> None:
    """A message, which goes to standard error: standard output is for figures."""
    print(text, file=sys.stderr, flush=True)


def parser(command: str, about: str | None, exit_codes: str) -> argparse.ArgumentParser:
    """The parser of `python -m COMMAND`, which measures a release, with a help that keeps its lines."""
    made = argparse.ArgumentParser(
        prog=f"python -m {command}",
        description=about,
        epilog=exit_codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--model",
        default="efficientnet_lite0",
        help="the hybrid; its twins are MODEL_onnx and MODEL_original (default: %(default)s)",
    )
    made.add_argument(
        "--repository", type=Path, default=Path("model_repository"), help="what to serve (default: %(default)s)"
    )
    return made


def write(path: Path, text: str) -> None:
    """Write a file, into a folder that may not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
