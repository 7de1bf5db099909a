"""Batches larger than the model takes: cut into requests, and the answers joined in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .calls import Array, Infer, InferAnswer
from .description import SERVED_BY, Batch, ModelDescription
from .errors import InvalidAnswer

__all__ = ["join_outputs", "serving_rows", "split"]


def split(call: Infer, batch: Batch, max_batch_size: int) -> tuple[Infer, ...]:
    """Return ``call`` with the inputs of ``batch``, as one request or as several of at most ``max_batch_size`` rows.

    The parts of a split request are numbered in their ids: "id.0", "id.1", …
    """
    if batch.rows is None or batch.rows <= max_batch_size:
        return (replace(call, inputs=batch.tensors),)
    parts = []
    for number, start in enumerate(range(0, batch.rows, max_batch_size)):
        stop = min(start + max_batch_size, batch.rows)
        tensors = tuple(replace(tensor, array=tensor.array[start:stop]) for tensor in batch.tensors)
        parts.append(
            replace(call, inputs=tensors, rows=(start, stop - 1), request_id=f"{call.request_id}.{number}"),
        )
    return tuple(parts)


def join_outputs(calls: Sequence[Infer], answers: Sequence[InferAnswer]) -> dict[str, Array]:
    """Return the outputs of all parts, each joined along the batch dimension in the order of the calls.

    The arrays are the caller's own: they can be written to. Raises `InvalidAnswer` where an asked output is missing,
    or where the parts do not have their requests' rows or do not fit together.
    """
    for call, answer in zip(calls, answers, strict=True):
        _check(call, answer, answers[0].outputs)
    if len(calls) == 1:
        return {name: np.require(array, requirements="W") for name, array in answers[0].outputs.items()}
    joined = {}
    for name in answers[0].outputs:
        parts = [answer.outputs[name] for answer in answers]
        if len({(part.dtype, part.shape[1:]) for part in parts}) > 1:
            shapes = ", ".join(str(list(part.shape)) for part in parts)
            raise InvalidAnswer(calls[0].title, f"the parts of output {name!r} do not fit together: {shapes}")
        joined[name] = np.concatenate(parts)
    return joined


def _check(call: Infer, answer: InferAnswer, wanted: Mapping[str, Array]) -> None:
    names = set(call.outputs) | set(wanted)
    if missing := sorted(names - set(answer.outputs)):
        raise InvalidAnswer(call.title, f"output {', '.join(missing)} is missing")
    if call.rows is None:
        return
    rows = call.rows[1] - call.rows[0] + 1
    for name, array in answer.outputs.items():
        if array.shape[:1] != (rows,):
            raise InvalidAnswer(call.title, f"output {name!r} has shape {list(array.shape)} for {rows} rows")


def serving_rows(calls: Sequence[Infer], outputs: Mapping[str, Array], model: ModelDescription) -> tuple[str, ...]:
    """Return who served each row, from a hybrid's `served_by` output: "onnx" or "original".

    Raises `InvalidAnswer` where the output is missing or does not have a value for each row.
    """
    if SERVED_BY not in outputs:
        raise InvalidAnswer(calls[0].title, f"output {SERVED_BY} is missing")
    rows = tuple(item.decode("utf-8", "replace") for item in outputs[SERVED_BY].reshape(-1))
    wanted = sum(call.inputs[0].array.shape[0] for call in calls) if model.max_batch_size > 0 else len(rows)
    if len(rows) != wanted:
        raise InvalidAnswer(calls[0].title, f"output {SERVED_BY} has {len(rows)} values for {wanted} rows")
    return rows
