"""Triton's entry: the original model of this release behind the Python backend."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray

from .bundle import read_bundle
from .errors import OriginalError, ParameterInvalid, RowsUnequal, run_failures
from .integrity import ReleaseDamaged, require_intact
from .loading import Device, OriginalModel, load

_MOST_THREADS = 1024


class TritonPythonModel:
    """One instance of the original. The config parameter `threads` sets its framework's thread pool."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Complete nothing, but refuse here what can be refused without loading: there is no instance yet.

        An instance that fails in `initialize` can take 24.10 down with it. Raises TritonModelException.
        """
        directory = Path(pb_utils.get_model_dir())
        try:
            require_intact(directory)
            read_bundle(directory)
            config = auto_complete_model_config.as_dict()
            _threads(config)
            _tf32(config)
        except (ReleaseDamaged, OriginalError) as error:
            raise pb_utils.TritonModelException(str(error)) from error
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Load the bundle beside this file. Raises TritonModelException with one sentence."""
        config = json.loads(args["model_config"])
        gpu = int(args["model_instance_device_id"]) if args["model_instance_kind"] == "GPU" else None
        directory = Path(args["model_repository"]) / args["model_version"]
        # Once more, for the code alone: a damaged bit may be the very one that left the first look out.
        require_intact(directory, ".py")
        try:
            self._model: OriginalModel = load(directory, Device(_threads(config), gpu, _tf32(config)))
        except OriginalError as error:
            raise pb_utils.TritonModelException(str(error)) from error
        # What is loaded stays: to look through it for garbage would hold up a request for a tenth of a second and more.
        gc.collect()
        gc.freeze()
        self._batched = config["max_batch_size"] > 0

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request; requests of equal shapes are computed together, and a failed group one by one."""
        responses: list[Any] = [None] * len(requests)
        read = [{t.name(): t.as_numpy() for t in request.inputs()} for request in requests]
        for members in self._groups(read):
            for numbers, answer in self._answers(members, read, requests):
                for number, response in zip(numbers, self._respond(numbers, read, answer, requests), strict=True):
                    responses[number] = response
        return responses

    def _groups(self, read: list[dict[str, NDArray[Any]]]) -> list[list[int]]:
        if not self._batched:
            return [[number] for number in range(len(read))]
        groups: dict[Any, list[int]] = {}
        for number, arrays in enumerate(read):
            groups.setdefault(tuple((name, a.shape[1:]) for name, a in sorted(arrays.items())), []).append(number)
        return list(groups.values())

    def _answers(
        self, members: list[int], read: list[dict[str, NDArray[Any]]], requests: list[Any]
    ) -> list[tuple[list[int], Any]]:
        """Pairs of request numbers and their common outputs, or the error that they met."""
        try:
            arrays = read[members[0]]
            if len(members) > 1:
                # What has no room joined may have it one by one.
                with run_failures():
                    arrays = {name: np.concatenate([read[n][name] for n in members]) for name in arrays}
            answer = self._model.run(arrays)
            if self._batched:
                wanted = {name for n in members for name in requests[n].requested_output_names()}
                _check_rows({name: value for name, value in answer.items() if name in wanted}, _rows(arrays))
            return [(members, answer)]
        except OriginalError as error:
            if len(members) == 1:
                return [(members, error)]
            return [pair for number in members for pair in self._answers([number], read, requests)]

    def _respond(
        self, numbers: list[int], read: list[dict[str, NDArray[Any]]], answer: Any, requests: list[Any]
    ) -> Any:
        start = 0
        for number in numbers:
            if isinstance(answer, OriginalError):
                yield pb_utils.InferenceResponse(error=pb_utils.TritonError(str(answer)))
                continue
            wanted = set(requests[number].requested_output_names())
            rows = _rows(read[number]) if self._batched else None
            stop = None if rows is None else start + rows
            yield pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor(name, value if len(numbers) == 1 else value[start:stop])
                    for name, value in answer.items()
                    if name in wanted
                ]
            )
            start += rows or 0


def _rows(arrays: dict[str, NDArray[Any]]) -> int:
    """Rows of a batched model's inputs. Triton has checked that all have as many."""
    return len(next(iter(arrays.values())))


def _check_rows(outputs: dict[str, NDArray[Any]], rows: int) -> None:
    """See that each row has its answer: cut apart by rows, one caller's would be another's. Raises RowsUnequal."""
    for name, array in outputs.items():
        if array.shape[:1] != (rows,):
            raise RowsUnequal(name, array.shape, rows)


def _threads(config: dict[str, Any]) -> int:
    """The parameter `threads`, 1 where there is none. Raises ParameterInvalid."""
    text = config.get("parameters", {}).get("threads", {}).get("string_value", "1")
    if not (text.isdecimal() and 1 <= int(text) <= _MOST_THREADS):
        raise ParameterInvalid("threads", f"a whole number from 1 to {_MOST_THREADS}", text)
    return int(text)


def _tf32(config: dict[str, Any]) -> bool:
    """The parameter `tf32`, true where there is none. Raises ParameterInvalid."""
    text = config.get("parameters", {}).get("tf32", {}).get("string_value", "true")
    if text not in ("true", "false"):
        raise ParameterInvalid("tf32", "true or false", text)
    return bool(text == "true")
