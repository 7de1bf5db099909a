"""model.toml cannot be used as it is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from .base import ConversionError


class SpecError(ConversionError):
    """model.toml cannot be used as it is."""

    exit_code = 3


class SpecMissing(SpecError):
    """There is no model.toml where one was looked for."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} does not exist; a model is a folder that holds model.toml")


class SpecUnreadable(SpecError):
    """model.toml is not TOML."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"{path} is not valid TOML: {cause}")


class UnknownKey(SpecError):
    """A key that no spec has."""

    def __init__(self, path: Path, key: str, known: Iterable[str]) -> None:
        names = sorted(known)
        place, _, last = key.rpartition(".")
        near = difflib.get_close_matches(last, names, n=1)
        prefix = f"{place}." if place else ""
        hint = f"did you mean '{prefix}{near[0]}'?" if near else f"known here: {', '.join(names)}"
        super().__init__(f"{path}: unknown key '{key}'; {hint}")


class WrongValue(SpecError):
    """A known key with a value of the wrong type or outside its range."""

    def __init__(self, path: Path, key: str, expected: str, found: object) -> None:
        super().__init__(f"{path}: '{key}' must be {expected}, found {found!r}")


class KeyMissing(SpecError):
    """A key without which the model cannot be understood."""

    def __init__(self, path: Path, key: str, why: str) -> None:
        super().__init__(f"{path}: '{key}' is missing: {why}")
