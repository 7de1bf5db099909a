"""A load test as a table of the terminal, a line a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["HEADER", "line_of"]

_COLUMNS = (
    "users",
    "asked",
    "answers/s",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "refused",
    "failed",
    "wrong",
    "answered by",
    "CPUs",
    "MB",
)
_WIDTHS = (5, -12, 9, 7, 7, 7, 7, 6, 5, -24, 5, 6)


def line_of(stage: Mapping[str, Any]) -> str:
    """One stage as a line of the table."""
    by = " ".join(f"{twin or 'itself'} {count}" for twin, count in stage["served_by"].items())
    figures = (
        str(stage["users"]),
        stage["kind"],
        f"{stage['answers_per_second']:.1f}",
        *("-" if stage[key] is None else f"{stage[key]:.0f}" for key in ("p50_ms", "p95_ms", "p99_ms")),
        *(str(stage[key]) for key in ("refused", "failed", "wrong")),
        by or "nobody",
        *(
            "-" if stage[key] is None else text.format(stage[key])
            for key, text in (("processors", "{:.2f}"), ("memory_mb", "{:.0f}"))
        ),
    )
    return _aligned(figures)


def _aligned(cells: Sequence[str]) -> str:
    return "  ".join(
        cell.ljust(-width) if width < 0 else cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True)
    ).rstrip()


HEADER = _aligned(_COLUMNS)
