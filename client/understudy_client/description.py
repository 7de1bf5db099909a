"""What a caller needs to know of a model, and the checks of a request against it before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .calls import Config, Metadata, Tensor, TensorSpec
from .dtypes import is_long_work, to_array
from .tensor_errors import MissingInput, UnknownTensor, WrongShape

__all__ = ["SERVED_BY", "Batch", "ModelDescription", "are_long_work", "check_inputs", "check_outputs"]

# The output in which a hybrid says who answered each row.
SERVED_BY = "served_by"


@dataclass(frozen=True)
class ModelDescription:
    """A model as the server describes it.

    ``inputs`` and ``outputs`` hold the tensors without a hybrid's ``served_by``; -1 in a shape is any size.
    ``max_batch_size`` 0 means that the model has no batch dimension and nothing is split.
    """

    name: str
    versions: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    optional_inputs: frozenset[str]
    max_batch_size: int
    is_hybrid: bool

    @classmethod
    def of(cls, metadata: Metadata, config: Config) -> ModelDescription:
        """Join the two answers of the server; a string output `served_by` makes the model a hybrid."""
        served_by = [spec for spec in metadata.outputs if spec.name == SERVED_BY and spec.datatype == "BYTES"]
        return cls(
            name=metadata.name,
            versions=metadata.versions,
            inputs=metadata.inputs,
            outputs=tuple(spec for spec in metadata.outputs if spec not in served_by),
            optional_inputs=config.optional_inputs,
            max_batch_size=config.max_batch_size,
            is_hybrid=bool(served_by),
        )


@dataclass(frozen=True, eq=False)
class Batch:
    """Checked inputs; ``rows`` is None for a model without a batch dimension."""

    tensors: tuple[Tensor, ...]
    rows: int | None


def check_inputs(data: object, model: ModelDescription) -> Batch:
    """Return the inputs as arrays of the model's dtypes, in the model's order.

    ``data`` is a mapping from input name to values, or the values alone for a model with one input.
    Raises `UnknownTensor`, `MissingInput`, `WrongDtype` or `WrongShape`.
    """
    given = _named(data, model)
    known = tuple(spec.name for spec in model.inputs)
    if unknown := [name for name in given if name not in known]:
        raise UnknownTensor(model.name, "input", unknown, known)
    if missing := [name for name in known if name not in given and name not in model.optional_inputs]:
        raise MissingInput(model.name, missing, known)
    tensors = []
    for spec in model.inputs:
        if spec.name in given:
            array = to_array(given[spec.name], spec, model.name)
            _check_shape(array.shape, spec, model)
            tensors.append(Tensor(spec.name, spec.datatype, array))
    return Batch(tuple(tensors), _rows(tensors, model))


def are_long_work(data: object) -> bool:
    """Tell whether `check_inputs` would be at these for longer than an event loop may wait."""
    return any(map(is_long_work, data.values() if isinstance(data, Mapping) else (data,)))


def check_outputs(outputs: Sequence[str] | None, model: ModelDescription) -> tuple[str, ...]:
    """Return the names to ask for: nothing for all of them, else the wanted ones, with `served_by` of a hybrid.

    Raises `UnknownTensor`.
    """
    if not outputs:
        return ()
    outputs = (outputs,) if isinstance(outputs, str) else outputs
    known = tuple(spec.name for spec in model.outputs)
    if unknown := [name for name in outputs if name not in known]:
        raise UnknownTensor(model.name, "output", unknown, known)
    return (*outputs, SERVED_BY) if model.is_hybrid else tuple(outputs)


def _named(data: object, model: ModelDescription) -> Mapping[str, object]:
    if isinstance(data, Mapping):
        return data
    if len(model.inputs) == 1:
        return {model.inputs[0].name: data}
    known = tuple(spec.name for spec in model.inputs)
    raise MissingInput(model.name, known, known)


def _check_shape(shape: tuple[int, ...], spec: TensorSpec, model: ModelDescription) -> None:
    wanted, batched = spec.shape, model.max_batch_size > 0
    if not _fits(shape, wanted):
        if batched and _fits(shape, wanted[1:]):
            advice = "the batch dimension is missing: give array[np.newaxis] for one row, np.stack for several"
        elif len(shape) != len(wanted):
            advice = f"it needs {len(wanted)} dimensions, not {len(shape)}"
        else:
            sizes = enumerate(zip(shape, wanted, strict=True))
            wrong = " and ".join(str(axis) for axis, (have, want) in sizes if want not in (-1, have))
            advice = f"the size of dimension {wrong} differs"
        raise WrongShape(model.name, spec.name, wanted, shape, advice)
    if batched and shape[0] == 0:
        raise WrongShape(model.name, spec.name, wanted, shape, "the batch is empty: give one row at least")


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(want in (-1, have) for have, want in zip(shape, wanted, strict=True))


def _rows(tensors: Sequence[Tensor], model: ModelDescription) -> int | None:
    """Return the batch size, which every input must share."""
    if model.max_batch_size == 0 or not tensors:
        return None
    first, *others = tensors
    rows = first.array.shape[0]
    for tensor in others:
        if tensor.array.shape[0] != rows:
            wanted = (rows, *tensor.array.shape[1:])
            advice = f"every input needs the same number of rows, and {first.name!r} has {rows}"
            raise WrongShape(model.name, tensor.name, wanted, tensor.array.shape, advice)
    return int(rows)
