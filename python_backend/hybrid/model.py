"""Triton's entry: translates between Triton and the router. Every decision is made in the modules beside this one."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .batch import Answer, Batch
from .errors import HybridError, RequestInvalid, TwinFailed, kind_of
from .exporter import Exporter
from .gather import Gather
from .guard import all_finite, first_not_finite
from .integrity import require_intact
from .jobs import Job
from .log import RareLog
from .pool import Pool
from .release import damaged_twins, require_release, require_twins
from .room import Room
from .router import Router
from .settings import SERVED_BY, Wishes, read_settings, read_wishes
from .tally import Series, Tally

_DRAIN_S = 10.0
# How Triton spells that a request carries no parameters.
_NO_PARAMETERS = ("", "{}", "null")


class TritonPythonModel:
    """The public model. Answers go through response senders, so that the calls of successive batches overlap."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Complete nothing, but refuse nonsense and damage here: no instance is there yet that could harm the server.

        An instance that fails in `initialize` can take 24.10 down with it. Raises TritonModelException.
        """
        directory = Path(pb_utils.get_model_dir())
        try:
            require_release(directory)
            require_twins(directory, read_settings(auto_complete_model_config.as_dict()).models)
        except HybridError as error:
            raise pb_utils.TritonModelException(str(error)) from error
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Read the configuration and start the threads. No twin is asked here: they may still be loading."""
        directory = Path(args["model_repository"]) / args["model_version"]
        # Once more, for the code alone: a damaged bit may be the very one that left the first look out.
        require_intact(directory, ".py")
        config = json.loads(args["model_config"])
        try:
            self._settings = read_settings(config)
        except HybridError as error:
            raise pb_utils.TritonModelException(str(error)) from error
        # The hybrid of release N asks version N of its twins.
        self._version = int(args["model_version"])
        # What a request that says nothing wishes for: the same always, or, where that is None, by its rows.
        self._by_twin = {
            twin: read_wishes(self._settings, "", 0, first)
            for first, twin in zip(self._settings.prefer.firsts, self._settings.prefer.twins, strict=True)
        }
        self._wishes = None if len(self._by_twin) > 1 else next(iter(self._by_twin.values()))
        # There are only as many sets of outputs as callers ask for: each is worked out once.
        self._asked: dict[tuple[str, ...], frozenset[str]] = {}
        self._tally = Tally()
        self._router = Router(self._settings, self._ask, time.monotonic, self._tally)
        self._pool = Pool(
            self._settings.max_concurrency, Gather(self._settings.max_joined_rows, self._settings.eager_calls)
        )
        self._room = Room(self._settings.max_pending, self._settings.max_pending_bytes)
        self._log = RareLog(pb_utils.Logger.log_warn, time.monotonic)
        self._damaged = damaged_twins(directory, self._settings.models)
        for sentence in self._damaged.values():
            pb_utils.Logger.log_error(f"this twin will not be asked: {sentence}")
        # For each thread its own: two that send a tensor for the first time would both move it to shared memory.
        self._served_by = threading.local()
        self._exporter = Exporter(config["name"], self._tally, self._gauges, _family, pb_utils.Logger.log_warn)
        self._exporter.start()
        self._on_cpu = pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0)

    def execute(self, requests: list[Any]) -> None:
        """Hand the requests to the pool; answers come by their senders."""
        now = time.monotonic()
        accepted = [batch for batch in map(self._accepted, requests) if batch is not None]
        self._pool.submit(*(Job(batch, self._router, self._deliver, now, self._kind) for batch in accepted))

    def finalize(self) -> None:
        """Answer what is in flight."""
        self._pool.drain(_DRAIN_S)
        self._exporter.stop()

    def _gauges(self) -> dict[Series, float]:
        """What the metrics show as it is now."""
        gauges: dict[Series, float] = {
            ("ml_pending_requests",): self._room.requests,
            ("ml_fallbacks_in_flight",): self._router.falling_back,
            ("ml_late_calls",): self._pool.lost,
        }
        gauges.update({("ml_breaker_state", twin): each.state for twin, each in self._router.breakers.items()})
        return gauges

    def _accepted(self, request: Any) -> Batch | None:
        """The request as a batch of its own; None where it has been answered by an error already."""
        try:
            batch = self._batch(request)
            self._room.enter(batch.size)
            return batch
        except HybridError as error:
            self._refuse(request, error)
        # Raising here would fail every request that came with this one, and those that a thread has already.
        except Exception as error:  # noqa: BLE001
            self._refuse(request, HybridError(f"the hybrid: {type(error).__name__}: {error}"))
        return None

    def _batch(self, request: Any) -> Batch:
        """The request as a batch of its own. Raises RequestInvalid, Overloaded."""
        tensors = request.inputs()
        # Triton has made these arrays already: asking for them copies nothing.
        arrays = {tensor.name(): tensor.as_numpy() for tensor in tensors}
        size = sum(array.nbytes for array in arrays.values())
        self._room.require(size)
        rows = len(next(iter(arrays.values()))) if self._settings.batched else 1
        if rows == 0:
            raise RequestInvalid("the batch is empty: the first dimension of every input must be at least 1")
        for name in self._settings.guarded_inputs:
            array = arrays.get(name)
            if array is not None and not all_finite(array):
                place = list(first_not_finite(array))
                raise RequestInvalid(f"input '{name}' holds NaN or infinity at {place}; send finite values")
        wanted = tuple(request.requested_output_names())
        asked = self._asked.get(wanted)
        if asked is None:
            asked = frozenset(wanted) - {SERVED_BY} or frozenset(self._settings.outputs)
            self._asked[wanted] = asked
        return Batch(rows, asked, self._wishes_of(request, rows), lambda: arrays, tensors, request, size)

    def _wishes_of(self, request: Any, rows: int) -> Wishes:
        text = request.parameters()
        timeout_us = request.timeout()
        if not timeout_us and text in _NO_PARAMETERS:
            return self._wishes or self._by_twin[self._settings.prefer.twin(rows)]
        return read_wishes(self._settings, text, timeout_us, rows)

    def _kind(self, batch: Batch) -> object:
        """Requests of one kind may share a call: same shapes, same wishes, and nothing said that differs."""
        if batch.rows >= self._settings.max_joined_rows or not self._settings.batched:
            return None
        if batch.request.correlation_id():
            return None
        wishes = None if batch.wishes is self._wishes else batch.wishes
        return wishes, *((name, array.shape[1:]) for name, array in batch.inputs().items())

    def _ask(self, twin: str, batch: Batch) -> Answer:
        """One call to a twin, in the server's own form where there is one. Raises TwinFailed."""
        if twin in self._damaged:
            raise TwinFailed(twin, self._damaged[twin], "damaged")
        try:
            response = self._call(twin, batch)
        except pb_utils.TritonModelException as error:
            raise TwinFailed(twin, str(error)) from error
        if response.has_error():
            text = response.error().message()
            raise TwinFailed(twin, text, kind_of(text))
        outputs = response.output_tensors()
        return Answer({tensor.name(): tensor.as_numpy() for tensor in outputs}, twin, outputs)

    def _call(self, twin: str, batch: Batch) -> Any:
        tensors = batch.native
        if tensors is None:
            tensors = [pb_utils.Tensor(name, np.ascontiguousarray(array)) for name, array in batch.inputs().items()]
        return pb_utils.InferenceRequest(
            model_name=self._settings.models[twin],
            model_version=self._version,
            inputs=tensors,
            requested_output_names=list(batch.asked),
            preferred_memory=self._on_cpu,
            **_handed_on(batch),
        ).exec()

    def _deliver(self, batch: Batch, answer: Answer | HybridError) -> None:
        """Answer the one request of `batch`."""
        self._room.leave(batch.size)
        if isinstance(answer, HybridError):
            self._log.say(type(answer).__name__, str(answer))
            self._refuse(batch.request, answer)
            return
        served_by = answer.served_by if isinstance(answer.served_by, str) else "both"
        self._tally.add("ml_inference_total", served_by, "ok")
        wanted = batch.request.requested_output_names()
        tensors = answer.native
        if tensors is None or len(tensors) > len(batch.asked):
            tensors = [pb_utils.Tensor(name, np.ascontiguousarray(answer.outputs[name])) for name in batch.asked]
        tensors = [tensor for tensor in tensors if tensor.name() in wanted]
        if SERVED_BY in wanted:
            tensors.append(self._served_by_tensor(answer, batch.rows))
        prefer = batch.wishes.prefer
        # Who was asked first has nearly always answered, and then it is the very same string.
        if answer.served_by is not prefer and not answer.is_by(prefer):
            self._log.say("fallback", f"answered by {answer.served_by}")
        self._send(batch.request, tensors)

    def _served_by_tensor(self, answer: Answer, rows: int) -> Any:
        shape = (rows, 1) if self._settings.batched else (1,)
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

    def _refuse(self, request: Any, error: HybridError) -> None:
        self._tally.add("ml_inference_total", "none", error.outcome)
        status = {"invalid": pb_utils.TritonError.INVALID_ARG, "error": pb_utils.TritonError.INTERNAL}
        code = status.get(error.outcome, pb_utils.TritonError.UNAVAILABLE)
        self._send(request, error=pb_utils.TritonError(str(error), code))

    def _send(self, request: Any, tensors: list[Any] | None = None, error: Any = None) -> None:
        response = pb_utils.InferenceResponse(tensors or [], error) if error else pb_utils.InferenceResponse(tensors)
        try:
            request.get_response_sender().send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        except pb_utils.TritonModelException as failure:
            # The sender has closed itself, so there is nobody left to tell but the log.
            self._log.say("send", f"an answer could not be sent: {failure}")


def _family(name: str, help_: str, grows: bool) -> Any:
    kind = pb_utils.MetricFamily.COUNTER if grows else pb_utils.MetricFamily.GAUGE
    return pb_utils.MetricFamily(name=name, description=help_, kind=kind)


def _handed_on(batch: Batch) -> dict[str, Any]:
    """What the callers said beside their tensors. What only one of them said cannot be said for several."""
    request = batch.request
    said: dict[str, Any]
    if request is None:
        said = {"request_id": ",".join(filter(None, (request.request_id() for request in batch.callers)))}
    else:
        said = {
            "request_id": request.request_id(),
            "correlation_id": request.correlation_id(),
            "flags": request.flags(),
            "trace": request.trace(),
        }
    if batch.wishes.parameters:
        said["parameters"] = json.loads(batch.wishes.parameters)
    if batch.wishes.timeout_us:
        said["timeout"] = batch.wishes.timeout_us
    return said
