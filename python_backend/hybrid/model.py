"""Triton's entry: translates between Triton and the router. Every decision is made in the modules beside this one."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from .batch import Answer, Arrays, Batch, join
from .errors import BothFailed, DeadlinePassed, HybridError, RequestInvalid, SettingsInvalid, TwinFailed
from .guard import all_finite, first_not_finite
from .jobs import Job
from .log import RareLog
from .pool import Pool
from .router import Router
from .settings import SERVED_BY, Settings, Wishes, read_settings, read_wishes

_DRAIN_S = 10.0
# What Triton says of a model that it cannot ask. Triton gives text alone, and the texts change between releases; an
# unknown one still means that the twin failed, only not that it will fail again.
_UNAVAILABLE = (
    "is not ready",
    "not healthy",
    "unknown model",
    "not found",
    "unavailable",
    "maximum queue size",
    "no version",
)

# How Triton spells that a request carries none.
_NO_PARAMETERS = ("", "{}", "null")


class TritonPythonModel:
    """The public model. Answers go through response senders, so that the calls of successive batches overlap."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the configuration and start the threads. No twin is asked here: they may still be loading."""
        config = json.loads(args["model_config"])
        try:
            self._settings: Settings = read_settings(config)
        except SettingsInvalid as error:
            raise pb_utils.TritonModelException(str(error)) from error
        # The hybrid of release N asks version N of its twins.
        self._version = int(args["model_version"])
        self._wishes = read_wishes(self._settings, {}, 0)
        self._router = Router(self._settings, self._ask, time.monotonic)
        self._pool = Pool(self._settings.max_concurrency)
        self._log = RareLog(pb_utils.Logger.log_warn, time.monotonic)
        self._served_by: dict[tuple[str, int], Any] = {}
        self._on_cpu = pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0)

    def execute(self, requests: list[Any]) -> None:
        """Hand the requests to the pool, those of equal shapes and wishes together; answers come by their senders."""
        groups: dict[Any, list[Batch]] = {}
        for request in requests:
            try:
                batch = self._batch(request)
            except RequestInvalid as error:
                self._send(request, error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
                continue
            key = (batch.wishes, self._shapes(request)) if len(requests) > 1 and self._settings.batched else id(batch)
            groups.setdefault(key, []).append(batch)
        for group in groups.values():
            self._pool.submit(Job(join(group), self._router, self._deliver, time.monotonic()))

    def finalize(self) -> None:
        """Answer what is in flight."""
        self._pool.drain(_DRAIN_S)

    def _batch(self, request: Any) -> Batch:
        """The request as a batch of its own. Raises RequestInvalid."""
        tensors = request.inputs()
        rows = int(tensors[0].shape()[0]) if self._settings.batched else 1
        if rows == 0:
            raise RequestInvalid("the batch is empty: the first dimension of every input must be at least 1")
        for tensor in tensors:
            if tensor.name() in self._settings.guarded_inputs:
                array = _view(tensor)
                if not all_finite(array):
                    place = list(first_not_finite(array))
                    raise RequestInvalid(
                        f"input '{tensor.name()}' holds NaN or infinity at {place}; send finite values"
                    )
        asked = frozenset(request.requested_output_names()) - {SERVED_BY} or frozenset(self._settings.outputs)

        def inputs() -> Arrays:
            return {tensor.name(): _view(tensor) for tensor in tensors}

        return Batch(rows, asked, self._wishes_of(request), inputs, native=tensors, request=request)

    def _wishes_of(self, request: Any) -> Wishes:
        text = request.parameters()
        timeout_us = request.timeout()
        if not timeout_us and text in _NO_PARAMETERS:
            return self._wishes
        return read_wishes(self._settings, json.loads(text or "{}") or {}, timeout_us)

    @staticmethod
    def _shapes(request: Any) -> Any:
        return tuple(sorted((t.name(), tuple(t.shape()[1:])) for t in request.inputs()))

    def _ask(self, twin: str, batch: Batch) -> Answer:
        """One call to a twin, in the server's own form where there is one. Raises TwinFailed."""
        tensors = batch.native
        if tensors is None:
            tensors = [pb_utils.Tensor(name, np.ascontiguousarray(array)) for name, array in batch.inputs().items()]
        response = pb_utils.InferenceRequest(
            model_name=self._settings.models[twin],
            model_version=self._version,
            inputs=tensors,
            requested_output_names=list(batch.asked),
            preferred_memory=self._on_cpu,
            **_handed_on(batch),
        ).exec()
        if response.has_error():
            text = response.error().message()
            raise TwinFailed(twin, text, any(known in text.lower() for known in _UNAVAILABLE))
        outputs = response.output_tensors()
        return Answer({tensor.name(): _view(tensor) for tensor in outputs}, twin, outputs)

    def _deliver(self, batch: Batch, answer: Answer | HybridError) -> None:
        """Answer the one request of `batch`."""
        if isinstance(answer, HybridError):
            self._log.say(type(answer).__name__, str(answer))
            self._send(batch.request, error=pb_utils.TritonError(str(answer), _status(answer)))
            return
        wanted = batch.request.requested_output_names()
        tensors = answer.native
        if tensors is None or len(tensors) > len(batch.asked):
            tensors = [pb_utils.Tensor(name, np.ascontiguousarray(answer.outputs[name])) for name in batch.asked]
        tensors = [tensor for tensor in tensors if tensor.name() in wanted]
        if SERVED_BY in wanted:
            tensors.append(self._served_by_tensor(answer, batch.rows))
        if answer.served_by != self._settings.prefer if isinstance(answer.served_by, str) else True:
            self._log.say("fallback", f"answered by {answer.served_by}")
        self._send(batch.request, tensors)

    def _served_by_tensor(self, answer: Answer, rows: int) -> Any:
        shape = (rows, 1) if self._settings.batched else (1,)
        if not isinstance(answer.served_by, str):
            values = np.array([twin.encode() for twin in answer.served_by], object).reshape(shape)
            return pb_utils.Tensor(SERVED_BY, values)
        key = (answer.served_by, rows)
        tensor = self._served_by.get(key)
        if tensor is None:
            # Strings are slow to pack; there are only as many different ones as there are batch sizes.
            tensor = pb_utils.Tensor(SERVED_BY, np.full(shape, answer.served_by.encode(), object))
            self._served_by[key] = tensor
        return tensor

    @staticmethod
    def _send(request: Any, tensors: list[Any] | None = None, error: Any = None) -> None:
        response = pb_utils.InferenceResponse(tensors or [], error) if error else pb_utils.InferenceResponse(tensors)
        request.get_response_sender().send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def _handed_on(batch: Batch) -> dict[str, Any]:
    """What the caller said beside its tensors; a call for several callers cannot say it for all of them."""
    if len(batch.members) > 1:
        return {}
    request = batch.request
    said = {
        "request_id": request.request_id(),
        "correlation_id": request.correlation_id(),
        "trace": request.trace(),
    }
    parameters = request.parameters()
    if parameters not in _NO_PARAMETERS:
        said["parameters"] = json.loads(parameters)
    return said


def _status(error: HybridError) -> Any:
    unavailable = isinstance(error, DeadlinePassed) or (
        isinstance(error, (BothFailed, TwinFailed)) and error.unavailable
    )
    return pb_utils.TritonError.UNAVAILABLE if unavailable else pb_utils.TritonError.INTERNAL


def _view(tensor: Any) -> NDArray[Any]:
    """The tensor's memory as an array: strings are unpacked, everything else is looked at in place."""
    array: NDArray[Any] = tensor.as_numpy()
    return array
