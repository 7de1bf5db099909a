"""What the watch has to tell: lines for people, metrics for machines."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

_PREFIX = "understudy_watch"
# A region of shared memory is up to 128 MiB.
_MANY = 8
# How a repair ends.
_REPAIRS = ("repaired", "failed")


class Telling:
    """Tells `write` what happens, a line with the time each, once for each turn of events, and counts all of it.

    The metrics are in the `registry` of prometheus_client's that is given, or in none.
    """

    def __init__(self, write: Callable[[str], object], registry: Any = None) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge

        self._write = write
        registry = registry or CollectorRegistry()
        self._probes = Counter(f"{_PREFIX}_probes", "Probes by outcome", ["model", "outcome"], registry=registry)
        self._seconds = Gauge(f"{_PREFIX}_probe_seconds", "What the last answer took", ["model"], registry=registry)
        self._repairs = Counter(f"{_PREFIX}_repairs", "Models loaded anew", ["model", "outcome"], registry=registry)
        self._given_up = Gauge(f"{_PREFIX}_given_up", "1 for what is not brought back", ["model"], registry=registry)
        self._broken = Gauge(f"{_PREFIX}_broken", "1 for what did not load", ["model", "version"], registry=registry)
        self._left = Gauge(f"{_PREFIX}_dead_processes", "Dead stubs that the server still keeps", registry=registry)
        self._up = Gauge(f"{_PREFIX}_server_up", "Whether the server answers", registry=registry)
        self._restarts = Counter(f"{_PREFIX}_server_restarts", "Servers started again", registry=registry)
        self._lock = threading.Lock()
        self._ill: set[str] = set()
        self._known_broken: set[tuple[str, int]] = set()
        self._reachable: bool | None = None
        self._many_left = False

    def reachable(self, models: Collection[str]) -> None:
        """The server answers, and the watch looks after these models.

        Their repairs are counted from 0 on: Prometheus sees growth, and of a series that began with the first repair it
        would never see that one.
        """
        self._up.set(1)
        for model in models:
            for outcome in _REPAIRS:
                self._repairs.labels(model, outcome)
        if self._reachable is not True:
            self._say(f"watching {', '.join(sorted(models)) or 'a server without a model'}")
        self._reachable = True

    def broken(self, reasons: Mapping[tuple[str, int], str]) -> None:
        """These versions of models were to be loaded, and could not be; other versions may serve."""
        for model, version in self._known_broken - reasons.keys():
            self._broken.remove(model, str(version))
        for model, version in reasons.keys() - self._known_broken:
            self._broken.labels(model, str(version)).set(1)
            self._say(f"ALARM: version {version} of {model} does not load: {reasons[model, version]}")
        self._known_broken = set(reasons)

    def wanted(self, models: Collection[str]) -> None:
        """Nobody misses any other model: it has left the repository, or somebody unloaded it."""
        told_of = {sample.labels["model"] for family in self._given_up.collect() for sample in family.samples}
        for model in told_of - set(models):
            self._given_up.remove(model)

    def left(self, processes: int) -> None:
        """The server keeps so many dead processes, and the shared memory of each, until it ends itself."""
        self._left.set(processes)
        many = processes >= _MANY
        if many and not self._many_left:
            self._say(f"ALARM: the server keeps {processes} dead processes and their shared memory: restart it in time")
        self._many_left = many

    def unreachable(self, reason: str) -> None:
        """The server does not."""
        self._up.set(0)
        if self._reachable is not False:
            self._say(f"ALARM: {reason}")
        self._reachable = False

    def answered(self, model: str, took_s: float) -> None:
        """A model answered its probe."""
        self._probes.labels(model, "ok").inc()
        self._seconds.labels(model).set(took_s)
        self._given_up.labels(model).set(0)
        if model in self._ill:
            self._ill.discard(model)
            self._say(f"{model} answers again")

    def probed(self, model: str, outcome: str, reason: str) -> None:
        """A model did not: it is `busy` with others, or `failed`."""
        self._probes.labels(model, outcome).inc()
        if outcome == "failed" and model not in self._ill:
            self._ill.add(model)
            self._say(f"{model} does not answer: {reason}")

    def repairing(self, model: str) -> None:
        """A model is about to be loaded anew."""
        self._say(f"unloading and loading {model}")

    def repaired(self, model: str, took_s: float) -> None:
        """A model was loaded anew, and answers."""
        self._repairs.labels(model, "repaired").inc()
        self._given_up.labels(model).set(0)
        self._ill.discard(model)
        self._say(f"{model} is back, after {took_s:.1f} s")

    def repair_failed(self, model: str, reason: str, *, given_up: bool) -> None:
        """It was not, or does not; with `given_up` for the last time that this is tried often."""
        self._repairs.labels(model, "failed").inc()
        self._say(f"{model} could not be brought back: {reason}")
        if given_up:
            self._given_up.labels(model).set(1)
            self._say(f"ALARM: {model} is given up: publish it anew, or roll it back; it is tried once a minute")

    def withdrawn(self, model: str) -> None:
        """It cannot be loaded anew, since the repository no longer has it: that is no failure."""
        self._ill.discard(model)
        self._say(f"{model} is no longer in the repository, and is left alone")

    def hangs(self, model: str) -> None:
        """Its load waits for a process that died, and so would every further one."""
        self._given_up.labels(model).set(1)
        self._say(
            f"ALARM: {model} hangs while it loads, since a process of it died: only a new start of Triton ends that"
        )

    def restarting(self, how: str, pause_s: float) -> None:
        """The server ended by itself, and is started again after a pause."""
        self._up.set(0)
        self._restarts.inc()
        self._say(f"ALARM: tritonserver {how}; it is started again" + (f" in {pause_s:.0f} s" if pause_s else ""))

    def failed_to_load(self, model: str, reason: str) -> None:
        """A model did not come back with the server."""
        self._given_up.labels(model).set(1)
        self._say(f"ALARM: {model} did not load again: {reason}")

    def untold(self, reason: str) -> None:
        """The server is back, and the file that tells where it runs could not be written."""
        self._say(f"ALARM: {reason}")

    def _say(self, text: str) -> None:
        # Repairs tell of themselves beside the watch. A line that cannot be written (its disk is full, its reader gone)
        # is lost: what it tells of has to be mended all the same, and the metrics have it too.
        with self._lock, contextlib.suppress(OSError):
            self._write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}")
