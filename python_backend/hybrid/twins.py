"""Asks the twins, through Triton's own calls between models (BLS)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .batch import Answer, Batch, parameters_for_twins
from .errors import TwinFailed, kind_of


class Twins:
    """The two twins of a release: `models` gives their names, `damaged` those that are not to be asked, and why."""

    def __init__(self, models: Mapping[str, str], version: int, damaged: Mapping[str, str]) -> None:
        self._models = models
        # The hybrid of release N asks version N of its twins.
        self._version = version
        self._damaged = damaged
        self._on_cpu = pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0)

    def ask(self, twin: str, batch: Batch) -> Answer:
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
            model_name=self._models[twin],
            model_version=self._version,
            inputs=tensors,
            requested_output_names=list(batch.asked),
            preferred_memory=self._on_cpu,
            **_handed_on(batch),
        ).exec()


def _handed_on(batch: Batch) -> dict[str, Any]:
    """What the callers said beside their tensors. What only one of them said cannot be said for several."""
    request = batch.request
    said: dict[str, Any]
    if request is None:
        callers = [caller for caller in batch.callers if caller is not None]
        said = {"request_id": ",".join(filter(None, (caller.request_id() for caller in callers)))}
    else:
        said = {
            "request_id": request.request_id(),
            "correlation_id": request.correlation_id(),
            "flags": request.flags(),
            "trace": request.trace(),
        }
    if batch.wishes.parameters:
        said["parameters"] = parameters_for_twins(batch.wishes.parameters)
    if batch.wishes.timeout_us:
        said["timeout"] = batch.wishes.timeout_us
    return said
