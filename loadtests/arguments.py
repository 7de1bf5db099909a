"""What the command lines of this package have in common."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

__all__ = ["count", "parser", "say", "write"]


def count(text: str) -> int:
    """An argument that is a whole number above 0. Raises argparse.ArgumentTypeError."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return int(text)


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
