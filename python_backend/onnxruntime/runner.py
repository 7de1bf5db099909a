"""Run a batch of requests through a session: once for all of them, and alone for each when that fails.

A request comes in as its input arrays by name with the outputs it wants, and goes out as arrays or as a RequestRefused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .dtypes import STRING
from .errors import RequestRefused
from .graph import Graph

Array = NDArray[np.generic]
Arrays = dict[str, Array]
# Runs the graph: output names, inputs by name; gives the outputs in that order.
Run = Callable[[list[str], Mapping[str, Array]], Sequence[Array]]


@dataclass(frozen=True)
class Request:
    """One request: inputs by name, strings as bytes objects, and the names of the outputs that it asks for."""

    inputs: Arrays
    outputs: tuple[str, ...]

    @property
    def rows(self) -> int:
        """Rows of a batched model's request. Triton has checked that all inputs have as many."""
        return len(next(iter(self.inputs.values()), ()))


class Runner:
    """Runs batches of one model. `scalars` are the written dims of outputs that are scalars in the graph."""

    def __init__(self, model: str, graph: Graph, run: Run, *, batched: bool, scalars: Mapping[str, tuple[int, ...]]):
        self._model = model
        self._run = run
        self._batched = batched
        self._scalar_outputs = dict(scalars)
        tensors = {**graph.overridable, **graph.inputs}
        self._strings = frozenset(name for name, tensor in tensors.items() if tensor.data_type == STRING)
        self._scalar_inputs = frozenset(name for name, tensor in tensors.items() if not tensor.shape)

    def run(self, requests: Sequence[Request]) -> list[Arrays | RequestRefused]:
        """An answer for each request, in order. Never raises for what a request holds."""
        if len(requests) == 1:
            return [self._alone(requests[0])]
        if self._batched:
            together = self._together(requests)
            if together is not None:
                return together
        return [self._alone(request) for request in requests]

    def _alone(self, request: Request) -> Arrays | RequestRefused:
        try:
            feeds = {name: self._feed(name, array) for name, array in request.inputs.items()}
            outputs = self._outputs(request.outputs, feeds)
            if self._batched:
                self._check_rows(outputs, request.rows)
        except RequestRefused as refused:
            return refused
        return outputs

    def _together(self, requests: Sequence[Request]) -> list[Arrays | RequestRefused] | None:
        """All requests in one run, or None when one of them spoils it: then each has to stand alone."""
        names = requests[0].inputs.keys()
        wanted = tuple(dict.fromkeys(name for request in requests for name in request.outputs))
        try:
            feeds = {
                name: self._feed(name, np.concatenate([request.inputs[name] for request in requests])) for name in names
            }
            outputs = self._outputs(wanted, feeds)
            rows = [request.rows for request in requests]
            self._check_rows(outputs, sum(rows))
        except (RequestRefused, ValueError, KeyError):
            return None
        answers: list[Arrays | RequestRefused] = []
        start = 0
        for request, count in zip(requests, rows, strict=True):
            answers.append({name: outputs[name][start : start + count] for name in request.outputs})
            start += count
        return answers

    def _feed(self, name: str, array: Array) -> Array:
        if name in self._strings:
            return self._decoded(name, array)
        return array.reshape(()) if name in self._scalar_inputs else array

    def _decoded(self, name: str, array: Array) -> Array:
        """Strings as ONNX Runtime takes them. The C++ backend hands over C strings, so a NUL would cut one short."""
        texts = np.empty(array.size, dtype=np.object_)
        for index, raw in enumerate(array.ravel()):
            try:
                texts[index] = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise RequestRefused(
                    f"input '{name}' for model '{self._model}': element {index} is not UTF-8 ({error.reason}), as "
                    "ONNX strings must be",
                    invalid=True,
                ) from error
            if "\0" in texts[index]:
                raise RequestRefused(
                    f"input '{name}' for model '{self._model}': element {index} holds a NUL character, where the C++ "
                    "backend would cut the string; remove it",
                    invalid=True,
                )
        return texts.reshape(() if name in self._scalar_inputs else array.shape)

    def _outputs(self, names: Sequence[str], feeds: Mapping[str, Array]) -> Arrays:
        try:
            arrays = self._run(list(names), feeds)
        except Exception as error:  # ONNX Runtime raises a class per status, which have no base of their own
            raise RequestRefused(f"onnx runtime error: {error}", invalid=False) from error
        return {name: self._shaped(name, array) for name, array in zip(names, arrays, strict=True)}

    def _shaped(self, name: str, array: Array) -> Array:
        return array.reshape(self._scalar_outputs[name]) if name in self._scalar_outputs else array

    def _check_rows(self, outputs: Arrays, rows: int) -> None:
        for name, array in outputs.items():
            if array.ndim == 0 or len(array) != rows:
                raise RequestRefused(
                    f"output '{name}' of model '{self._model}' has shape {list(array.shape)} for a batch of {rows}; "
                    "its first dimension must be the batch",
                    invalid=False,
                )
