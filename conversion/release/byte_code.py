"""Python is given no place for its byte code in a published version."""

from __future__ import annotations

from pathlib import Path

from python_backend.integrity import BYTE_CODE

__all__ = ["bar_byte_code"]

_WHY = "A file in the place of Python's folder of byte code, so that loading a model changes nothing in its version.\n"


def bar_byte_code(version: Path) -> None:
    """Put a file where Python would make a folder, beside all modules below `version`. Raises OSError.

    Triton takes a version whose folders were written to since it was loaded for a changed one, and Python writes there
    when it first imports: each publish would load once more the original that serves. No variable keeps it from that in
    24.10, where a stub's Python reads none. With the file it compiles at each start, in silence: 26 ms of a processor
    for the hybrid's modules, 11 for the original's (AMD EPYC, 2026-11-27).
    """
    for folder in {module.parent for module in version.rglob("*.py")}:
        place = folder / BYTE_CODE
        if not place.exists():
            # Some tools that copy leave out empty files.
            place.write_text(_WHY, encoding="ascii")
