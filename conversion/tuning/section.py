"""The section `[serving.tuned]` of a model.toml: written behind what people wrote, or in place of an older one."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

from ..errors import WrongValue
from ..release.pbtxt import replace_file, unfinished
from ..spec.serving import TunedSpec

__all__ = ["write_section"]

# Up to the next table, or the end.
_SECTION = re.compile(r"\n*^\[serving\.tuned\][^\n]*\n?((?:(?![ \t]*\[)[^\n]*\n?)*)", re.MULTILINE)


def write_section(path: Path, tuned: TunedSpec, comment: str) -> None:
    """Write it in one step; all else stays as it is. Raises WrongValue where it cannot stand there, OSError."""
    text = path.read_text(encoding="utf-8")
    lines = [f"{field.name} = {_toml(getattr(tuned, field.name))}" for field in fields(tuned)]
    rest = _SECTION.sub(_comments, text).rstrip("\n")
    made = "\n".join([rest, "", f"[serving.tuned]  # {comment}", *lines, ""])
    try:
        tomllib.loads(made)
    except tomllib.TOMLDecodeError as error:
        raise WrongValue(
            path, "serving", "a table [serving], so that [serving.tuned] can follow", str(error)
        ) from error
    mode = path.stat().st_mode
    try:
        replace_file(made.encode(), path)
        path.chmod(mode)
    except BaseException:
        unfinished(path).unlink(missing_ok=True)
        raise


def _comments(section: re.Match[str]) -> str:
    """What people wrote below its header, most often on the next table: lines that set nothing."""
    lines = section[1].splitlines(keepends=True)
    kept = "".join(line for line in lines if not line.strip() or line.lstrip().startswith("#")).lstrip("\n")
    return f"\n\n{kept}" if kept else "\n"


def _toml(value: bool | float) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.6g}" if isinstance(value, float) else str(value)
