"""One prediction, from the caller's arrays to the caller's arrays."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from .batches import join_outputs, serving_rows, split
from .calls import Array, Infer, InferAnswer
from .description import SERVED_BY, ModelDescription, are_long_work, check_inputs, check_outputs
from .descriptions import Descriptions, send_to_model
from .errors import InvalidRequest, UnderstudyClientError
from .prediction import Prediction
from .steps import Backoff, Clock, Compute, Deadline, Steps, Together

__all__ = ["Parameters", "Question", "predict"]

Parameters: TypeAlias = Mapping[str, str | int | float | bool]

# What this client or Triton's protocols set themselves (TRITON_RESERVED_REQUEST_PARAMS in tritonclient.utils).
_RESERVED = ("binary_data_output", "headers", "priority", "sequence_end", "sequence_id", "sequence_start", "timeout")
_RESERVED_PREFIX = "triton_"


@dataclass(frozen=True, eq=False)
class Question:
    """What a caller asked `predict`; None stands for the client's default, or for nothing."""

    data: object
    model: str
    version: str
    outputs: Sequence[str] | None
    request_id: str | None
    parameters: Parameters | None


def predict(
    question: Question, deadline: Deadline, descriptions: Descriptions, backoff: Backoff, clock: Clock
) -> Steps[Prediction]:
    """Check, split, send and join one prediction; raises the errors of `errors`."""
    started = clock()
    call = Infer(
        question.model,
        question.version,
        request_id=_request_id(question),
        parameters=_checked(question.parameters, question.model),
    )
    description, remembered = yield from descriptions.get(call.model, call.version, deadline)
    try:
        calls, answers = yield from _infer(call, question, description, deadline, backoff)
    except InvalidRequest:
        # A model that was replaced since it was described may take what the old description forbids, and the reverse.
        fresh = (yield from _reread(call, descriptions, deadline)) if remembered else None
        if fresh is None or fresh == description:
            raise
        description = fresh
        calls, answers = yield from _infer(call, question, description, deadline, backoff)
    outputs, rows = _joined(calls, answers, description)
    return Prediction(
        model=call.model,
        model_version=",".join(dict.fromkeys(answer.version for answer in answers)),
        outputs=outputs,
        served_by=(rows[0] if len(set(rows)) == 1 else "mixed") if rows else None,
        served_by_rows=rows,
        inference_time_ms=(clock() - started) * 1000,
        request_id=call.request_id,
    )


def _joined(
    calls: Sequence[Infer], answers: Sequence[InferAnswer], description: ModelDescription
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the outputs in the model's order without a hybrid's `served_by`, and that by row."""
    outputs = join_outputs(calls, answers)
    rows: tuple[str, ...] = ()
    if description.is_hybrid:
        rows = serving_rows(calls, outputs, description)
        del outputs[SERVED_BY]
    order = [spec.name for spec in description.outputs if spec.name in outputs]
    return {name: outputs[name] for name in dict.fromkeys([*order, *outputs])}, rows


def _infer(
    call: Infer, question: Question, description: ModelDescription, deadline: Deadline, backoff: Backoff
) -> Steps[tuple[Sequence[Infer], Sequence[InferAnswer]]]:
    check = partial(check_inputs, question.data, description)
    batch = (yield Compute(check)) if are_long_work(question.data) else check()
    calls = split(
        replace(call, outputs=check_outputs(question.outputs, description)), batch, description.max_batch_size
    )
    steps = tuple(_send(part, deadline, backoff) for part in calls)
    answers = (yield Together(steps, call.title, deadline)) if len(steps) > 1 else [(yield from steps[0])]
    return calls, answers


def _send(call: Infer, deadline: Deadline, backoff: Backoff) -> Steps[InferAnswer]:
    """Send one request with the milliseconds that are left, which is what a hybrid divides between its twins."""

    def with_deadline(remaining_s: float) -> Infer:
        return replace(call, parameters={**call.parameters, "deadline_ms": max(1, int(remaining_s * 1000))})

    return (yield from send_to_model(with_deadline, call.model, call.version, deadline, backoff))


def _reread(call: Infer, descriptions: Descriptions, deadline: Deadline) -> Steps[ModelDescription | None]:
    """Return a fresh description, or None where none is to be had: the caller then gets the error of the request."""
    try:
        return (yield from descriptions.read(call.model, call.version, deadline))
    except UnderstudyClientError:
        descriptions.forget(call.model)
        return None


def _request_id(question: Question) -> str:
    """Return the caller's, or a new one; raises `InvalidRequest` for one that cannot be sent."""
    given = question.request_id
    if given is None or given == "":
        return uuid.uuid4().hex
    if not (isinstance(given, str) and _is_text(given)):
        raise InvalidRequest(f"inference on {question.model!r}", f"the request id is {given!r}; expected text, as str")
    return given


def _is_text(text: str) -> bool:
    """Tell whether a string can be sent: half a pair of UTF-16 is no character of its own."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _checked(parameters: Parameters | None, model: str) -> Parameters:
    """Raise `InvalidRequest` for parameters that cannot be sent."""
    where = f"inference on {model!r}"
    for name, value in (parameters or {}).items():
        if name == "deadline_ms":
            raise InvalidRequest(where, "the parameter 'deadline_ms' is made from deadline_s")
        if name in _RESERVED or name.startswith(_RESERVED_PREFIX):
            raise InvalidRequest(where, f"the parameter {name!r} is reserved by Triton")
        if not isinstance(value, str | int | float | bool):
            kind = type(value).__name__
            raise InvalidRequest(where, f"the parameter {name!r} is {kind}; expected str, int, float or bool")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise InvalidRequest(where, f"the parameter {name!r} is an integer of more than 64 bits")
        if not (_is_text(name) and _is_text(str(value))):
            raise InvalidRequest(where, f"the parameter {name!r}, or its value, is not valid Unicode")
    return dict(parameters or {})
