"""The root of all errors of this package."""

from __future__ import annotations


class ConversionError(Exception):
    """Base of everything that this package raises; `exit_code` is the command line's."""

    exit_code = 1
