"""Answers callers, each by the response sender of its own request."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .batch import Answer, Batch
from .errors import HybridError
from .settings import SERVED_BY
from .tally import Tally


class Replies:
    """What goes out is counted, and what is out of the ordinary is told to `note` with its kind."""

    def __init__(self, batched: bool, tally: Tally, note: Callable[[str, str], None]) -> None:
        self._batched = batched
        self._tally = tally
        self._note = note
        # For each thread its own: two that send a tensor for the first time would both move it to shared memory.
        self._served_by = threading.local()

    def answer(self, batch: Batch, answer: Answer) -> None:
        """Hand what the twins said to the one caller of `batch`."""
        tensors = answer.native
        if tensors is None or len(tensors) > len(batch.asked):
            tensors = [pb_utils.Tensor(name, np.ascontiguousarray(answer.outputs[name])) for name in batch.asked]
        tensors = [tensor for tensor in tensors if tensor.name() in batch.wanted]
        if SERVED_BY in batch.wanted:
            tensors.append(self._served_by_tensor(answer, batch.rows))
        self._send(batch.request, tensors)
        # Nobody waits for what follows. Who was asked first has nearly always answered: it is the very same string.
        prefer = batch.wishes.prefer
        if answer.served_by is not prefer and not answer.is_by(prefer):
            self._note("fallback", f"answered by {answer.served_by}")
        served_by = answer.served_by if isinstance(answer.served_by, str) else "both"
        self._tally.add("ml_inference_total", served_by, "ok")

    def refuse(self, request: Any, error: HybridError) -> None:
        """Tell a caller why there is no answer. Its own mistakes are nobody else's business."""
        if error.outcome != "invalid":
            self._note(type(error).__name__, str(error))
        self._tally.add("ml_inference_total", "none", error.outcome)
        status = {"invalid": pb_utils.TritonError.INVALID_ARG, "error": pb_utils.TritonError.INTERNAL}
        code = status.get(error.outcome, pb_utils.TritonError.UNAVAILABLE)
        self._send(request, error=pb_utils.TritonError(str(error), code))

    def _served_by_tensor(self, answer: Answer, rows: int) -> Any:
        shape = (rows, 1) if self._batched else (1,)
        if not isinstance(answer.served_by, str):
            values = np.array([twin.encode() for twin in answer.served_by], object).reshape(shape)
            return pb_utils.Tensor(SERVED_BY, values)
        known = self._served_by.__dict__
        key = f"{answer.served_by} {rows}"
        tensor = known.get(key)
        if tensor is None:
            # Strings are slow to pack; there are only as many different ones as there are batch sizes.
            tensor = known[key] = pb_utils.Tensor(SERVED_BY, np.full(shape, answer.served_by.encode(), object))
        return tensor

    def _send(self, request: Any, tensors: list[Any] | None = None, error: Any = None) -> None:
        response = pb_utils.InferenceResponse(tensors or [], error) if error else pb_utils.InferenceResponse(tensors)
        try:
            request.get_response_sender().send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        except pb_utils.TritonModelException as failure:
            # The sender has closed itself, so there is nobody left to tell but the log.
            self._note("send", f"an answer could not be sent: {failure}")
