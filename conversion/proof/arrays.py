"""Arrays that come with a spec, from its files or its functions, held to what the model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from python_backend.original.errors import first_line
from python_backend.original.factory import find_callable

from ..errors import ArtefactError
from ..interface import Facts
from ..spec import ModelSpec

__all__ = ["check_arrays", "made_arrays", "read_arrays"]


def read_arrays(spec: ModelSpec, key: str, place: str) -> dict[str, NDArray[Any]]:
    """The arrays of the .npz at `place`, which `key` of the spec names, as it has them. Raises ArtefactError."""
    path = spec.folder / place
    try:
        # Opened here: NumPy leaves a file that is no archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    # Of a file that is empty, cut or no archive NumPy raises whatever its parsers do.
    except Exception as error:
        raise ArtefactError(f"{spec.name}: {key} {path} is not a readable .npz: {error}") from error


def made_arrays(spec: ModelSpec, key: str, place: str, *given: int) -> dict[str, NDArray[Any]]:
    """What the function at `place`, which `key` of the spec names, gives for `given`. Raises ArtefactError."""
    try:
        made = find_callable(place, spec.folder)(*given)
        return {str(name): np.asarray(array) for name, array in made.items()}
    # It is the user's code: whatever it raises is the news to pass on.
    except Exception as error:
        raise ArtefactError(f"{spec.name}: {key} '{place}': {first_line(error)}") from error


def check_arrays(spec: ModelSpec, what: str, arrays: Mapping[str, NDArray[Any]], inputs: Sequence[Facts]) -> None:
    """Hold arrays that came with the spec, and that `what` names, to the inputs. Raises ArtefactError."""
    for fact in inputs:
        if fact.name not in arrays:
            raise ArtefactError(f"{spec.name}: {what} lack input '{fact.name}'; they have {', '.join(arrays)}")
        array = arrays[fact.name]
        fits = array.ndim == len(fact.shape) and all(
            isinstance(size, str) or size == found for size, found in zip(fact.shape, array.shape, strict=True)
        )
        if not fits or not array.size:
            raise ArtefactError(
                f"{spec.name}: {what} give '{fact.name}' the shape {list(array.shape)}, "
                f"expected {list(fact.shape)} with at least one row"
            )
        if fact.dtype not in ("string", array.dtype.name):
            raise ArtefactError(f"{spec.name}: {what} give '{fact.name}' as {array.dtype.name}, expected {fact.dtype}")
