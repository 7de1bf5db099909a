"""The section `[serving.tuned]` of a model.toml: written behind what people wrote, or in place of an older one."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import SpecUnreadable, WrongValue
from ..release.pbtxt import replace_file, unfinished
from ..spec.serving import TunedSpec

__all__ = ["section", "write_section"]

_HEADER = r"""[ \t]*\[[ \t]*(?:serving|"serving"|'serving')[ \t]*\.[ \t]*(?:tuned|"tuned"|'tuned')[ \t]*\]"""
# Up to the next table, or the end.
_SECTION = re.compile(rf"\n*^{_HEADER}[^\n]*\n?((?:(?![ \t]*\[)[^\n]*\n?)*)", re.MULTILINE)


def section(tuned: TunedSpec, comment: str) -> str:
    """The section, as it stands in a file."""
    lines = [f"{field.name} = {_toml(getattr(tuned, field.name))}" for field in fields(tuned)]
    return "\n".join([f"[serving.tuned]  # {comment}", *lines, ""])


def write_section(path: Path, tuned: TunedSpec, comment: str) -> None:
    """Write it in one step; all else stays as it is, the kind of its line ends too.

    Raises WrongValue where it cannot stand there, SpecUnreadable, OSError.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
        before = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecUnreadable(path, str(error)) from error
    carriage = 0 < text.count("\n") == text.count("\r\n")
    text = text.replace("\r\n", "\n") if carriage else text
    made = _with_section(path, text, before, section(tuned, comment))
    made = made.replace("\n", "\r\n") if carriage else made
    mark = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
    mode = path.stat().st_mode
    try:
        replace_file(mark + made.encode(), path)
        path.chmod(mode)
    except BaseException:
        unfinished(path).unlink(missing_ok=True)
        raise


def _with_section(path: Path, text: str, before: Mapping[str, Any], made: str) -> str:
    """The text of the file with the section at its end. Raises WrongValue."""
    serving = before.get("serving", {})
    older = "tuned" in serving
    # In a text without one, what looks like it is part of a string.
    rest = _SECTION.sub(_comments, text) if older else text
    whole = "\n".join([rest.rstrip("\n"), "", made])
    wanted = {**before, "serving": {**serving, **tomllib.loads(made)["serving"]}}
    try:
        found = tomllib.loads(whole)
    except tomllib.TOMLDecodeError:
        found = None
    if found != wanted:
        if older:
            expected = "a table with a header of its own, [serving.tuned], so that another can take its place"
            raise WrongValue(path, "serving.tuned", expected, serving["tuned"])
        raise WrongValue(path, "serving", "a table [serving], so that [serving.tuned] can follow", serving)
    return whole


def _comments(section: re.Match[str]) -> str:
    """What people wrote below its header, most often on the next table: lines that set nothing."""
    lines = section[1].splitlines(keepends=True)
    kept = "".join(line for line in lines if not line.strip() or line.lstrip().startswith("#")).lstrip("\n")
    return f"\n\n{kept}" if kept else "\n"


def _toml(value: bool | float) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.6g}" if isinstance(value, float) else str(value)
