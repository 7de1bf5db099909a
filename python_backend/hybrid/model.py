"""Triton's entry: translates between Triton and the router. Every decision is made in the modules beside this one."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from .batch import Answer, Batch
from .errors import FolderShared, HybridError, RequestInvalid
from .exhibits import Exhibits, default_folder
from .exporter import Exporter
from .gather import Gather
from .guard import all_finite, first_not_finite
from .integrity import require_intact
from .jobs import Job
from .log import RareLog
from .pool import Pool
from .release import damaged_twins, proved_tolerance, require_release, require_twins
from .replies import Replies
from .room import Room, size_of
from .router import Router
from .settings import SERVED_BY, Wishes, read_settings, read_wishes
from .shadow import Differing, Shadow
from .tally import Series, Tally
from .twins import Twins

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
        # What a request that says nothing wishes for: the same always, or, where that is None, by its rows.
        self._by_twin = {
            twin: read_wishes(self._settings, "", 0, first)
            for first, twin in zip(self._settings.prefer.firsts, self._settings.prefer.twins, strict=True)
        }
        self._wishes = None if len(self._by_twin) > 1 else next(iter(self._by_twin.values()))
        # There are only as many sets of outputs as callers ask for: each is worked out once.
        self._asked: dict[tuple[str, ...], frozenset[str]] = {}
        self._log = RareLog(lambda text: pb_utils.Logger.log_warn(f"{config['name']}: {text}"), time.monotonic)
        self._tally = Tally()
        damaged = damaged_twins(directory, self._settings.models)
        for sentence in damaged.values():
            pb_utils.Logger.log_error(f"{config['name']}: this twin will not be asked: {sentence}")
        twins = Twins(self._settings.models, int(args["model_version"]), damaged)
        self._replies = Replies(self._settings.batched, self._tally, self._log.say)
        self._pool = Pool(
            self._settings.max_concurrency,
            Gather(self._settings.max_joined_rows, self._settings.eager_calls, self._settings.max_fallbacks),
            self._settings.max_fallbacks,
            lambda text: self._log.say("watch", text),
        )
        self._router = Router(
            self._settings,
            twins.ask,
            time.monotonic,
            self._tally,
            aside=lambda task: threading.Thread(target=task, daemon=True).start(),
            when_gone=self._pool.abandon,
            when_well=self._pool.forgive,
        )
        self._room = Room(self._settings.max_pending, self._settings.max_pending_bytes)
        self._shadow = self._shadow_of(directory, config["name"], twins)
        self._exporter = Exporter(config["name"], self._tally, self._gauges, _family, pb_utils.Logger.log_warn)
        self._exporter.start()

    def _shadow_of(self, directory: Path, name: str, twins: Twins) -> Shadow | None:
        """What compares the twins in service; None where nothing is to be compared, or nobody says how."""
        settings = self._settings.shadow
        tolerance = proved_tolerance(directory)
        if not settings.share or tolerance is None:
            return None
        exhibits = Exhibits(Path(settings.folder) if settings.folder else default_folder(name), settings.keep)

        def differed(found: Differing) -> None:
            try:
                path = exhibits.save(found)
                kept = f"; kept in {path}" if path else ""
            except (OSError, FolderShared) as error:
                kept = f"; it could not be kept: {error}"
            self._log.say("shadow", f"the twins differ: {found.cause}{kept}")

        def distrusted(cause: str) -> None:
            if settings.quarantine and self._settings.fallback_enabled and "onnx" not in self._router.quarantined:
                self._router.quarantine("onnx", cause)
                pb_utils.Logger.log_error(f"{name}: the ONNX twin is in quarantine until the model is loaded: {cause}")

        shadow = Shadow(
            settings,
            tolerance,
            twins.ask,
            idle=lambda: self._router.at_rest,
            tally=self._tally,
            differed=differed,
            distrusted=distrusted,
        )
        shadow.start()
        return shadow

    def execute(self, requests: list[Any]) -> None:
        """Hand the requests to the pool; answers come by their senders."""
        now = time.monotonic()
        accepted = [batch for batch in map(self._accepted, requests) if batch is not None]
        self._pool.submit(*(Job(batch, self._router, self._deliver, now, self._kind) for batch in accepted))

    def finalize(self) -> None:
        """Answer what is in flight."""
        self._pool.drain(_DRAIN_S)
        if self._shadow is not None:
            self._shadow.stop()
        self._exporter.stop()

    def _gauges(self) -> dict[Series, float]:
        """What the metrics show as it is now."""
        gauges: dict[Series, float] = {
            ("ml_pending_requests",): self._room.requests,
            ("ml_fallbacks_in_flight",): self._router.falling_back,
            ("ml_late_calls",): self._pool.lost,
        }
        for twin, breaker in self._router.breakers.items():
            gauges["ml_breaker_state", twin] = breaker.state
            gauges["ml_twin_quarantined", twin] = twin in self._router.quarantined
        for output, worst in (self._shadow.worst if self._shadow else {}).copy().items():
            gauges["ml_shadow_worst", output] = worst
        return gauges

    def _accepted(self, request: Any) -> Batch | None:
        """The request as a batch of its own; None where it has been answered by an error already."""
        try:
            batch = self._batch(request)
            self._room.enter(batch.size)
            return batch
        except HybridError as error:
            self._replies.refuse(request, error)
        # Raising here would fail every request that came with this one, and those that a thread has already.
        except Exception as error:  # noqa: BLE001
            self._replies.refuse(request, HybridError(f"the hybrid: {type(error).__name__}: {error}"))
        return None

    def _batch(self, request: Any) -> Batch:
        """The request as a batch of its own. Raises RequestInvalid, Overloaded."""
        tensors = request.inputs()
        # Triton has made these arrays already: asking for them copies nothing.
        arrays = {tensor.name(): tensor.as_numpy() for tensor in tensors}
        size = size_of(arrays.values())
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
        return Batch(rows, asked, self._wishes_of(request, rows), lambda: arrays, tensors, request, wanted, size)

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

    def _deliver(self, batch: Batch, answer: Answer | HybridError) -> None:
        """Answer the one request of `batch`."""
        try:
            if isinstance(answer, HybridError):
                self._replies.refuse(batch.request, answer)
            else:
                if self._shadow is not None:
                    self._shadow.consider(batch, answer)
                self._replies.answer(batch, answer)
        finally:
            self._room.leave(batch.size)


def _family(name: str, help_: str, grows: bool) -> Any:
    kind = pb_utils.MetricFamily.COUNTER if grows else pb_utils.MetricFamily.GAUGE
    return pb_utils.MetricFamily(name=name, description=help_, kind=kind)
