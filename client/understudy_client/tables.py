"""Rows of text as aligned lines."""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["aligned"]


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Return one line a row, columns two spaces apart; the columns numbered in ``right`` end at the same place."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = enumerate(zip(row, widths, strict=True))
        lines.append(
            "  ".join(cell.rjust(width) if number in right else cell.ljust(width) for number, (cell, width) in cells)
        )
    return [line.rstrip() for line in lines]
