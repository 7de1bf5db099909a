"""The stand-in's face to Triton: translates between `triton_python_backend_utils` and the modules beside it."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import triton_python_backend_utils as pb_utils

_PACKAGE = "understudy_onnxruntime_stand_in"


def _load_package() -> None:
    """Make this directory importable as a package of its own name.

    Triton imports this file as the top-level module `model` and puts its directory on sys.path. Modules beside it
    could be imported by their bare names then, but so could any other's of the same name; and the directory's own name
    belongs to ONNX Runtime.
    """
    if _PACKAGE in sys.modules:
        return
    here = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, here / "__init__.py", submodule_search_locations=[str(here)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[_PACKAGE])


if TYPE_CHECKING:
    from . import (
        autocomplete,
        cuda_graph,
        dtypes,
        errors,
        features,
        graph,
        integrity,
        limits,
        padding,
        rows,
        runner,
        sequences,
        session,
        settings,
        sized,
        threads,
        validate,
    )
else:
    _load_package()
    from understudy_onnxruntime_stand_in import (
        autocomplete,
        cuda_graph,
        dtypes,
        errors,
        features,
        graph,
        integrity,
        limits,
        padding,
        rows,
        runner,
        sequences,
        session,
        settings,
        sized,
        threads,
        validate,
    )


class TritonPythonModel:
    """One instance of one ONNX model."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Fill in what config.pbtxt leaves out, and refuse here whatever can be refused. Raises LoadRefused.

        `initialize` would come to the same verdicts. But an instance that fails there can take the whole server down
        (24.10 aborts with boost::interprocess::lock_exception, about once in forty times on a busy machine); this
        method runs in a process of its own, before there is any instance.
        """
        directory = Path(pb_utils.get_model_dir())
        try:
            integrity.require_intact(directory)
        except integrity.ReleaseDamaged as error:
            raise errors.ReleaseRefused(str(error)) from error
        config = auto_complete_model_config.as_dict()
        options = settings.read_settings(config)
        features.refuse_missing_features(config)
        kinds = {group.get("kind") for group in config.get("instance_group") or []}
        for kind in ("GPU", "CPU"):
            if f"KIND_{kind}" in kinds or kind == "CPU":
                session.require_providers(settings.read_providers(config, kind, device_id=0))
        filename = Path(config.get("default_model_filename") or "model.onnx").name
        path = graph.find_graph(directory, filename)
        signature = graph.read_graph(session.open_signature(path, options.op_libraries))
        if not autocomplete.is_complete(config):
            autocomplete.complete(config, signature)
        if all(autocomplete.is_carried(entry) for entry in (*config["input"], *config["output"])):
            validate.validate(config, signature)
            sequences.read_states(config, signature)
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Open the session and hold it against the configuration. Raises LoadRefused, which Triton reports."""
        config = json.loads(args["model_config"])
        options = settings.read_settings(config)
        device_id = int(args["model_instance_device_id"] or 0)
        providers = settings.read_providers(config, args["model_instance_kind"], device_id)
        features.refuse_missing_features(config)
        version = Path(args["model_repository"]) / args["model_version"]
        path = graph.find_graph(version, config.get("default_model_filename") or "")
        count = options.intra_op_threads or threads.default_threads(config, limits.available_cores())
        opened = session.open_session(path, options, providers, count)
        signature = graph.read_graph(opened)
        validate.validate(config, signature)
        batched = config["max_batch_size"] > 0
        run = session.runner_of(opened, options)
        if batched:
            run = _batched_run(run, signature, path=path, options=options, providers=providers, count=count)
        batch_runner = runner.Runner(
            config["name"],
            signature,
            run,
            batched=batched,
            scalars={
                entry["name"]: validate.written_dims(entry)
                for entry in config["output"]
                if not signature.outputs[entry["name"]].shape
            },
        )
        self._run: Callable[[list[Any]], list[runner.Arrays | errors.RequestRefused]]
        self._run = lambda requests: batch_runner.run([_request(request) for request in requests])
        states = sequences.read_states(config, signature)
        if states:
            idle_s = int(config["sequence_batching"]["max_sequence_idle_microseconds"]) / 1e6
            sequence_runner = sequences.SequenceRunner(batch_runner, states, idle_s, time.monotonic)
            self._run = lambda requests: sequence_runner.run([_step(request) for request in requests])
        self._decoupled = pb_utils.using_decoupled_model_transaction_policy(config)

    def execute(self, requests: list[Any]) -> list[Any] | None:
        """Answer each request; what one of them holds never fails another."""
        responses = [_response(answer) for answer in self._run(requests)]
        if not self._decoupled:
            return responses
        for request, response in zip(requests, responses, strict=True):
            request.get_response_sender().send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        return None


def _batched_run(
    whole: runner.Run,
    signature: graph.Graph,
    *,
    path: Path,
    options: settings.Settings,
    providers: list[settings.Provider],
    count: int,
) -> runner.Run:
    """How batches are run: as they come by `whole`, unless the settings say otherwise. Raises LoadRefused."""
    if options.padded_rows and providers[0].name == settings.CUDA:
        sessions = sized.SizedSessions(
            lambda graphs: session.open_session(path, options, providers, count, graphs=graphs),
            lambda opened: session.runner_of(opened, options),
            device_id=int(providers[0].options["device_id"]),
            # Memory that a run gives back is memory that a graph would still read.
            graphs=providers[0].options.get(cuda_graph.OPTION) == "1" and not options.run_entries,
        )
        padded = padding.PaddedRows(whole, options.padded_rows, sessions.open)
        row = _zeros(signature)
        if row is not None:
            try:
                padded.warm(list(signature.outputs), row)
            # A graph may refuse zeros, and a GPU may be full; ONNX Runtime's errors have no base of their own.
            except Exception as error:  # noqa: BLE001
                pb_utils.Logger.log_warn(f"{path}: not warmed up, its first callers wait longer: {error}")
            for size, reason in sessions.refused.items():
                pb_utils.Logger.log_warn(f"{path}: no CUDA graph for {size} rows, launched one by one: {reason}")
        return padded
    if options.split_rows and count > 1 and providers == [settings.CPU]:
        single = session.open_session(path, replace(options, intra_op_threads=1), providers, 1)
        return rows.SplitRows(whole, session.runner_of(single, options), count)
    return whole


def _zeros(signature: graph.Graph) -> runner.Arrays | None:
    """A row of each input, or None where the graph does not tell its size, or it is of strings."""
    tensors = signature.inputs.values()
    if any(graph.DYNAMIC in tensor.shape[1:] or tensor.data_type == dtypes.STRING for tensor in tensors):
        return None
    return {
        tensor.name: np.zeros((1, *tensor.shape[1:]), pb_utils.triton_string_to_numpy(tensor.data_type))
        for tensor in tensors
    }


def _request(request: Any) -> runner.Request:
    # as_numpy is the copy out of shared memory that Triton makes in any case; a DLPack view would not spare it.
    inputs = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
    return runner.Request(inputs, tuple(request.requested_output_names()))


def _step(request: Any) -> sequences.Step:
    flags = request.flags()
    return sequences.Step(
        _request(request),
        request.correlation_id(),
        starts=bool(flags & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START),
        ends=bool(flags & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END),
    )


def _response(answer: runner.Arrays | errors.RequestRefused) -> Any:
    if isinstance(answer, errors.RequestRefused):
        code = pb_utils.TritonError.INVALID_ARG if answer.invalid else pb_utils.TritonError.INTERNAL
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(answer), code))
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in answer.items()])
