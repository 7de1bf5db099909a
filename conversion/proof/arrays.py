"""Arrays that come with a spec, from its files or its functions, held to what the model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from ..errors import ArtefactError
from ..interface import Facts
from ..spec import ModelSpec

__all__ = ["check_arrays"]


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
