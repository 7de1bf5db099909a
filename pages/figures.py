"""Figures as a person reads them: three digits and a unit. All but `number` take what the evidence calls them by.

None reads as a dash: it was not measured.
"""

from __future__ import annotations

import math

__all__ = [
    "cores",
    "megabytes",
    "milliseconds",
    "moment",
    "number",
    "of_bytes",
    "percent",
    "rows",
    "setting",
    "share",
    "sixth",
    "times",
]

NONE = "\N{EN DASH}"
_UNBOUNDED = {"inf": "\N{INFINITY}", "-inf": "-\N{INFINITY}", "nan": "not a number"}
# A space that keeps a figure and its unit on one line.
_SPACE = "\N{NO-BREAK SPACE}"


def number(value: float | None) -> str:
    """Integers as they are; others to three digits, or to the unit where more stand before the point.

    What is tiny or huge has two digits and an exponent.
    """
    if value is None:
        return NONE
    if isinstance(value, int):
        return _signed(f"{value:,}")
    return _signed(_three_digits(value) if math.isfinite(value) else _UNBOUNDED[str(value)])


def setting(value: float) -> str:
    """What a person wrote down, such as a tolerance: as short as it was."""
    return _signed(f"{value:g}")


def percent(part: float | None) -> str:
    """A part of one, such as an accuracy, to a hundredth of a percent; below one percent to three digits."""
    if part is None:
        return NONE
    found = 100 * float(part)
    text = _signed(f"{found:.2f}") if abs(found) >= 1 else number(found)
    if "." in text and "e" not in text:
        text = text.rstrip("0").rstrip(".")
    return f"{text}{_SPACE}%"


def share(part: float | None) -> str:
    """A part of one, such as that of the tolerance, to three digits of a percent."""
    return NONE if part is None else f"{number(100 * float(part))}{_SPACE}%"


def sixth(value: float | None) -> str:
    """Six digits after the point: for a cosine, whose news stands there."""
    return NONE if value is None else _signed(f"{value:.6f}")


def milliseconds(value: float | None) -> str:
    """Milliseconds with their unit."""
    return NONE if value is None else f"{number(float(value))}{_SPACE}ms"


def megabytes(value: float | None) -> str:
    """Megabytes (10^6 bytes) with their unit."""
    return NONE if value is None else f"{number(float(value))}{_SPACE}MB"


def of_bytes(value: int | None) -> str:
    """Bytes, in megabytes."""
    return NONE if value is None else megabytes(value / 1e6)


def times(ratio: float | None) -> str:
    """How many times as fast."""
    return NONE if ratio is None else f"{number(float(ratio))}\N{MULTIPLICATION SIGN}"


def rows(count: int | str) -> str:
    """A batch size with its unit."""
    return f"{int(count):,}{_SPACE}row{'' if int(count) == 1 else 's'}"


def cores(count: int | None, usable: int | None = None) -> str:
    """The cores of a machine, and those that could be used, where affinity or a quota left fewer."""
    told = f"{number(count)} core{'' if count == 1 else 's'}"
    fewer = usable is not None and count is not None and usable < count
    return f"{told}, {usable} of them usable" if fewer else told


def moment(iso: str) -> str:
    """A date and time in ISO 8601, without its T."""
    return iso.replace("T", " ").replace("+00:00", " UTC")


def _three_digits(value: float) -> str:
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e9:
        return f"{value:.1e}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def _signed(text: str) -> str:
    return f"\N{MINUS SIGN}{text[1:]}" if text.startswith("-") else text
