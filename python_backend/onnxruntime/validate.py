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
    for sentence in differences(config, graph):
        raise SignatureRefused(sentence)


def differences(config: dict[str, Any], graph: Graph) -> Iterator[str]:
    """Everything in which configuration and graph differ, a sentence each."""
    controls = list(_controls(config))
    for name, data_type in controls:
        yield from _control_differences(config, graph, name, data_type)
    entries = config.get("input") or []
    states = (config.get("sequence_batching") or {}).get("state") or []
    expected = sum(not entry.get("optional") for entry in entries) + len(controls) + len(states)
    if expected != len(graph.inputs):
        yield (
            f"unable to load model '{config['name']}', configuration expects {expected} inputs, model provides "
            f"{len(graph.inputs)}"
        )
    allowed = {**graph.inputs, **graph.overridable}
    for entry in entries:
        if entry.get("optional") and config["max_batch_size"] != 0:
            yield (
                f"unable to load model '{config['name']}', optional input '{entry['name']}' is not supported for "
                "models that support batching"
            )
        yield from _entry_differences(config, entry, allowed, "input", exact=False)
    for entry in config.get("output") or []:
        yield from _entry_differences(config, entry, graph.outputs, "output", exact=True)


def _entry_differences(
    config: dict[str, Any], entry: dict[str, Any], allowed: dict[str, GraphTensor], kind: str, *, exact: bool
) -> Iterator[str]:
    name, data_type = entry["name"], entry["data_type"]
    tensor = allowed.get(name)
    if tensor is None:
        yield f"unexpected inference {kind} '{name}', allowed {kind}s are: {', '.join(sorted(allowed))}"
        return
    if data_type not in SUPPORTED:
        yield f"unsupported datatype {data_type} for {kind} '{name}' for model '{config['name']}'"
    elif data_type != tensor.data_type:
        yield (
            f"unable to load model '{config['name']}', configuration expects datatype {data_type} for {kind} "
            f"'{name}', model provides {tensor.data_type}"
        )
    dims = written_dims(entry)
    if tensor.shape:
        yield from _dims_differences(config, tensor, dims, exact=exact)
    elif any(size != 1 for size in dims):
        yield (
            f"unable to load model '{config['name']}', scalar tensor '{name}', should only provide 1 in the model "
            "configuration when the model doesn't support batching. Model configuration provided: "
            f"{_shape_text(dims)}."
        )


def written_dims(entry: dict[str, Any]) -> tuple[int, ...]:
    """The shape that the graph sees, without the batch: the reshape's where there is one."""
    reshape = entry.get("reshape")
    written = entry["dims"] if reshape is None else reshape.get("shape") or []
    return tuple(int(size) for size in written)


def _dims_differences(
    config: dict[str, Any], tensor: GraphTensor, dims: tuple[int, ...], *, exact: bool
) -> Iterator[str]:
    batched = config["max_batch_size"] > 0
    where = f"model '{config['name']}', tensor '{tensor.name}'"
    if batched and not tensor.batches:
        yield (
            f"{where}: for the model to support batching the shape should have at least 1 dimension and the first "
            f"dimension must be -1; but shape expected by the model is {_shape_text(tensor.shape)}"
        )
        return
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
        yield (
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


def _control_differences(config: dict[str, Any], graph: Graph, name: str, data_type: str) -> Iterator[str]:
    tensor = graph.inputs.get(name)
    if tensor is None:
        yield f"configuration specified sequence control '{name}', but model does not provide that input"
        return
    dims = tensor.shape[1:] if config["max_batch_size"] > 0 else tensor.shape
    if dims != (1,):
        yield (
            f"unable to load model '{config['name']}', sequence control '{name}' in model has dims "
            f"{_shape_text(dims)} but dims [1] is expected"
        )
    if data_type != tensor.data_type:
        yield (
            f"unable to load model '{config['name']}', sequence control '{name}', the model expects data-type "
            f"{tensor.data_type} but the model configuration specifies data-type {data_type}"
        )


def _shape_text(shape: Iterable[int]) -> str:
    return f"[{','.join(str(size) for size in shape)}]"
