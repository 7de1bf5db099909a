"""Golden samples: a few rows with the original's answers, which a release carries so that it can be replayed."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from python_backend.strings import storable

from ..errors import PublishError
from ..proof.parity import Case
from ..proof.samples import Batch

__all__ = ["GOLDEN", "golden_case", "read_golden", "write_golden"]

GOLDEN = "golden.npz"
_ROWS = 4
_BYTES = 8_000_000


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
    """Write a .npz without pickles: arrays `input/NAME` and `output/NAME`, strings as bytes of a fixed width."""
    with path.open("wb") as file:
        np.savez_compressed(file, **_arrays(case))


def read_golden(path: Path) -> Case:
    """Read what `write_golden` wrote; strings come back as object arrays of bytes. Raises PublishError."""
    # What the hybrid keeps of requests on which the twins differed has the twin's answer as well.
    found: dict[str, Batch] = {"input": {}, "output": {}, "twin": {}}
    try:
        # Opened here: NumPy leaves a file that is no archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            for key in archive.files:
                kind, _, name = key.partition("/")
                array = archive[key]
                found[kind][name] = array.astype(object) if array.dtype.kind == "S" else array
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise PublishError(f"{path} holds no golden samples ({error}); convert the model again") from error
    return Case(found["input"], found["output"])


def _arrays(case: Case) -> dict[str, NDArray[Any]]:
    kinds = {"input": case.inputs, "output": case.expected}
    return {f"{kind}/{name}": storable(array) for kind, batch in kinds.items() for name, array in batch.items()}


def _size(case: Case) -> int:
    return max(1, sum(array.nbytes for array in _arrays(case).values()))
