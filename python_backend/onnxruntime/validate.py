"""Hold config.pbtxt against the graph: names, data types, dimensions, in the C++ backend's order and words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .dtypes import SUPPORTED
from .errors import SignatureRefused
from .graph import DYNAMIC, Graph, GraphTensor

_CONTROLS = (
    "CONTROL_SEQUENCE_START",
    "CONTROL_SEQUENCE_END",
    "CONTROL_SEQUENCE_READY",
    "CONTROL_SEQUENCE_CORRID",
)
_VALUE_TYPES = (
    ("fp32_false_true", "TYPE_FP32"),
    ("int32_false_true", "TYPE_INT32"),
    ("bool_false_true", "TYPE_BOOL"),
)


def validate(config: dict[str, Any], graph: Graph) -> None:
    """Raise SignatureRefused for the first thing in which configuration and graph differ."""
    controls = list(_controls(config))
    for name, data_type in controls:
        _validate_control(config, graph, name, data_type)
    entries = config.get("input") or []
    states = (config.get("sequence_batching") or {}).get("state") or []
    expected = sum(not entry.get("optional") for entry in entries) + len(controls) + len(states)
    if expected != len(graph.inputs):
        raise SignatureRefused(
            f"unable to load model '{config['name']}', configuration expects {expected} inputs, model provides "
            f"{len(graph.inputs)}"
        )
    allowed = {**graph.inputs, **graph.overridable}
    for entry in entries:
        if entry.get("optional") and config["max_batch_size"] != 0:
            raise SignatureRefused(
                f"unable to load model '{config['name']}', optional input '{entry['name']}' is not supported for "
                "models that support batching"
            )
        _validate_entry(config, entry, allowed, "input", exact=False)
    for entry in config.get("output") or []:
        _validate_entry(config, entry, graph.outputs, "output", exact=True)


def _validate_entry(
    config: dict[str, Any], entry: dict[str, Any], allowed: dict[str, GraphTensor], kind: str, *, exact: bool
) -> None:
    name, data_type = entry["name"], entry["data_type"]
    tensor = allowed.get(name)
    if tensor is None:
        raise SignatureRefused(
            f"unexpected inference {kind} '{name}', allowed {kind}s are: {', '.join(sorted(allowed))}"
        )
    if data_type not in SUPPORTED:
        raise SignatureRefused(f"unsupported datatype {data_type} for {kind} '{name}' for model '{config['name']}'")
    if data_type != tensor.data_type:
        raise SignatureRefused(
            f"unable to load model '{config['name']}', configuration expects datatype {data_type} for {kind} "
            f"'{name}', model provides {tensor.data_type}"
        )
    dims = written_dims(entry)
    if tensor.shape:
        _compare_dims(config, tensor, dims, exact=exact)
    elif any(size != 1 for size in dims):
        raise SignatureRefused(
            f"unable to load model '{config['name']}', scalar tensor '{name}', should only provide 1 in the model "
            "configuration when the model doesn't support batching. Model configuration provided: "
            f"{_shape_text(dims)}."
        )


def written_dims(entry: dict[str, Any]) -> tuple[int, ...]:
    """The shape that the graph sees, without the batch: the reshape's where there is one."""
    reshape = entry.get("reshape")
    written = entry["dims"] if reshape is None else reshape.get("shape") or []
    return tuple(int(size) for size in written)


def _compare_dims(config: dict[str, Any], tensor: GraphTensor, dims: tuple[int, ...], *, exact: bool) -> None:
    batched = config["max_batch_size"] > 0
    where = f"model '{config['name']}', tensor '{tensor.name}'"
    if batched and not tensor.batches:
        raise SignatureRefused(
            f"{where}: for the model to support batching the shape should have at least 1 dimension and the first "
            f"dimension must be -1; but shape expected by the model is {_shape_text(tensor.shape)}"
        )
    full = (DYNAMIC, *dims) if batched else dims
    agrees = len(full) == len(tensor.shape) and all(
        theirs == ours or (not exact and theirs == DYNAMIC) for theirs, ours in zip(tensor.shape, full, strict=True)
    )
    if not agrees:
        because = (
            "an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, making "
            "complete shape"
            if batched
            else "shape"
        )
        raise SignatureRefused(
            f"{where}: the model expects {len(tensor.shape)} dimensions (shape {_shape_text(tensor.shape)}) but the "
            f"model configuration specifies {len(full)} dimensions ({because} {_shape_text(full)})"
        )


def _controls(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and data_type of each sequence control that the graph must take as an input."""
    batching = config.get("sequence_batching") or {}
    for entry in batching.get("control_input") or []:
        for control in entry.get("control") or []:
            if control.get("kind", _CONTROLS[0]) in _CONTROLS:
                written = [data_type for key, data_type in _VALUE_TYPES if control.get(key)]
                yield entry["name"], written[0] if written else control.get("data_type", "TYPE_INVALID")


def _validate_control(config: dict[str, Any], graph: Graph, name: str, data_type: str) -> None:
    tensor = graph.inputs.get(name)
    if tensor is None:
        raise SignatureRefused(
            f"configuration specified sequence control '{name}', but model does not provide that input"
        )
    dims = tensor.shape[1:] if config["max_batch_size"] > 0 else tensor.shape
    if dims != (1,):
        raise SignatureRefused(
            f"unable to load model '{config['name']}', sequence control '{name}' in model has dims "
            f"{_shape_text(dims)} but dims [1] is expected"
        )
    if data_type != tensor.data_type:
        raise SignatureRefused(
            f"unable to load model '{config['name']}', sequence control '{name}', the model expects data-type "
            f"{tensor.data_type} but the model configuration specifies data-type {data_type}"
        )


def _shape_text(shape: Iterable[int]) -> str:
    return f"[{','.join(str(size) for size in shape)}]"
