"""The inputs and outputs of a model: what the artefact tells, completed by what model.toml says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from python_backend.original.bundle import Tensor

from .dtypes import DTYPES
from .errors import FixedDimension, NameMismatch, NameTaken, Unsupported, UnsupportedDtype
from .spec import InputSpec, ModelSpec

__all__ = ["BATCH", "SERVED_BY", "Facts", "facts_of", "input_facts", "output_names"]

BATCH = "batch"
# The output that the hybrid adds to those of the model.
SERVED_BY = "served_by"


@dataclass(frozen=True)
class Facts:
    """A tensor as it is served. A string in `shape` names a dynamic dimension; `range` bounds generated samples."""

    name: str
    dtype: str
    shape: tuple[str | int, ...]
    range: tuple[float, float] | None = None

    @property
    def tensor(self) -> Tensor:
        """The same for the bundle's manifest, where dynamic dimensions have no names."""
        return Tensor(self.name, self.dtype, tuple(None if isinstance(s, str) else s for s in self.shape))


def facts_of(plain: Mapping[str, Any]) -> Facts:
    """Facts that were written down as JSON, as in evidence.json."""
    limits = plain["range"]
    return Facts(plain["name"], plain["dtype"], tuple(plain["shape"]), tuple(limits) if limits else None)


def input_facts(spec: ModelSpec, told: Sequence[Tensor]) -> tuple[Facts, ...]:
    """Join the spec's inputs with those that the artefact tells of (none for a bare PyTorch module).

    Raises NameMismatch, UnsupportedDtype, FixedDimension, Unsupported.
    """
    if not told:
        facts = tuple(Facts(i.name, i.dtype, i.shape, i.range) for i in spec.inputs)
    else:
        # An input without a name stands for the only one there is.
        named = {i.name or (told[0].name if len(told) == 1 else ""): i for i in spec.inputs}
        if not set(named) <= {tensor.name for tensor in told}:
            raise NameMismatch("inputs", named, [tensor.name for tensor in told])
        batched = spec.serving.max_batch_size > 0
        facts = tuple(_join(tensor, named.get(tensor.name), batched) for tensor in told)
    for fact in facts:
        if spec.serving.max_batch_size and not (fact.shape and isinstance(fact.shape[0], str)):
            raise FixedDimension(fact.name, BATCH, fact.shape)
        if fact.dtype not in DTYPES:
            raise UnsupportedDtype(fact.name, fact.dtype, DTYPES)
    _refuse_unknown("inputs", spec.serving.allow_non_finite_inputs, [fact.name for fact in facts])
    return facts


def _join(tensor: Tensor, given: InputSpec | None, batched: bool) -> Facts:
    shape = tuple(_size(tensor.name, axis, size, batched) for axis, size in enumerate(tensor.shape))
    if given is None:
        return Facts(tensor.name, tensor.dtype, shape)
    if given.dtype and given.dtype != tensor.dtype:
        raise Unsupported(f"model.toml says input '{tensor.name}' is {given.dtype}, the model says {tensor.dtype}")
    if given.shape:
        fits = len(given.shape) == len(shape) and all(
            isinstance(told, str) or told == said for said, told in zip(given.shape, shape, strict=True)
        )
        if not fits:
            raise Unsupported(
                f"model.toml gives input '{tensor.name}' the shape {list(given.shape)}, the model has {list(shape)}"
            )
        shape = given.shape
    return Facts(tensor.name, tensor.dtype, shape, given.range)


def _size(name: str, axis: int, size: int | None, batched: bool) -> str | int:
    if size is not None:
        return size
    return BATCH if axis == 0 and batched else f"{name}_{axis}"


def output_names(spec: ModelSpec, inputs: Sequence[Facts], found: Sequence[str]) -> tuple[str, ...]:
    """The names that the outputs get: the spec's, in the model's order, else the model's own.

    Raises NameMismatch, and NameTaken where an output would be called as an input or as the hybrid's own output.
    """
    named = [output.name for output in spec.outputs]
    if not named or set(named) == set(found):
        names = tuple(found)
    else:
        # Other names are given by place: a name of the model's own in another place would be that of other values.
        moved = any(name in found and own != name for name, own in zip(named, found, strict=False))
        if moved or len(named) != len(found):
            raise NameMismatch("outputs", named, found)
        names = tuple(named)
    taken = {fact.name: "has the name of an input" for fact in inputs} | {SERVED_BY: "is the hybrid's own"}
    for name in names:
        if name in taken:
            raise NameTaken(name, taken[name])
    _refuse_unknown("outputs", spec.serving.allow_non_finite_outputs, names)
    return names


def _refuse_unknown(kind: str, named: Sequence[str], found: Sequence[str]) -> None:
    if not set(named) <= set(found):
        raise NameMismatch(kind, named, found, place=f" in allow_non_finite_{kind}")
