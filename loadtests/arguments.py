"""What the command lines of this package have in common."""

from __future__ import annotations

import argparse
import sys

__all__ = ["count", "say"]


def count(text: str) -> int:
    """An argument that is a whole number above 0. Raises argparse.ArgumentTypeError."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return int(text)


def say(text: str) -> None:
    """A message, which goes to standard error: standard output is for figures."""
    print(text, file=sys.stderr, flush=True)
