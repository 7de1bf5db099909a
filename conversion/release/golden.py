"""Golden samples: a few rows with the original's answers, which a release carries so that it can be replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from python_backend.strings import packed, packed_size, unpacked

from ..errors import PublishError
from ..proof.parity import Case
from ..proof.samples import Batch

__all__ = ["GOLDEN", "golden_case", "read_golden", "write_golden"]

GOLDEN = "golden.npz"
_ROWS = 4
_BYTES = 8_000_000
# What the hybrid keeps of requests on which the twins differed has the twin's answer as well.
_KINDS = {"input", "output", "twin"}


def golden_case(cases: Sequence[Case], batched: bool, run: Callable[[Batch], Batch]) -> Case:
    """The case to store: at most 4 rows and 8 MB out of `cases`, but never less than a row.

    It is one of `cases` where one is small enough, else rows of the smallest with what `run`, the original, says of
    them. Without a batch there are no rows to leave out: the smallest case is taken whole.
    """
    if not batched:
        return min(cases, key=_size)
    fitting = [case for case in cases if case.rows <= _ROWS and _size(case) <= _BYTES]
    if fitting:
        return max(fitting, key=lambda case: case.rows)
    smallest = min(cases, key=lambda case: case.rows)
    rows = max(1, min(_ROWS, smallest.rows, _BYTES * smallest.rows // _size(smallest)))
    inputs = {name: array[:rows] for name, array in smallest.inputs.items()}
    return Case(inputs, run(inputs))


def write_golden(case: Case, path: Path) -> None:
    """Write a .npz without pickles: arrays `input/NAME` and `output/NAME`, strings as `packed` has them."""
    with path.open("wb") as file:
        np.savez_compressed(file, **packed("input", case.inputs), **packed("output", case.expected))


def read_golden(path: Path) -> Case:
    """Read what `write_golden` wrote; strings come back as object arrays of bytes. Raises PublishError."""
    try:
        # Opened here: NumPy leaves a file that is no archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            found = unpacked(archive)
        if not found.keys() <= _KINDS:
            raise ValueError(f"it has arrays of the kind '{min(found.keys() - _KINDS)}'")
    # Of a file that is empty, cut or overwritten NumPy raises whatever its parsers do: EOFError, TokenError, …
    except Exception as error:
        raise PublishError(f"{path} holds no golden samples ({error}); convert the model again") from error
    return Case(found.get("input", {}), found.get("output", {}))


def _size(case: Case) -> int:
    return max(1, packed_size(case.inputs) + packed_size(case.expected))
