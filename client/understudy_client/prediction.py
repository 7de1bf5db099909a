"""What `predict` gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .calls import Array
from .tensor_errors import SeveralOutputs, UnknownTensor

__all__ = ["Prediction"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer to one `predict`.

    ``outputs``: name → array in the server's dtype and shape, the batch first, in the model's order and without a
    hybrid's ``served_by``. The arrays are the caller's to write to. Strings are object arrays of bytes, which `text`
    decodes.
    ``served_by``: "onnx" or "original", "mixed" where rows differ, None for a model that is not a hybrid.
    ``served_by_rows``: the same for each row (one value for a model without a batch dimension); empty for no hybrid.
    ``inference_time_ms``: wall time of the whole call as its caller saw it, in milliseconds.
    ``model_version``: the version that answered; several, joined by commas, where a release was switched in between.
    """

    model: str
    model_version: str
    outputs: Mapping[str, Array]
    served_by: str | None
    served_by_rows: tuple[str, ...]
    inference_time_ms: float
    request_id: str

    @property
    def output(self) -> Array:
        """The only output; raises `SeveralOutputs` where the model answered with more (or with none)."""
        if len(self.outputs) != 1:
            raise SeveralOutputs(self.model, tuple(self.outputs))
        return next(iter(self.outputs.values()))

    def text(self, name: str) -> Array:
        """Return a string output as an array of ``str``, decoded as UTF-8.

        Raises `UnknownTensor` for a name that is not among the outputs, UnicodeDecodeError for bytes that are no text.
        """
        if name not in self.outputs:
            raise UnknownTensor(self.model, "output", [name], tuple(self.outputs))
        array = self.outputs[name]
        return np.array([item.decode() for item in array.reshape(-1)], dtype=np.str_).reshape(array.shape)
