"""Tells the tally on to Triton's own metrics endpoint: one thread, a few calls a second, whatever the load.

A call for a metric costs some 10 µs and crosses to Triton's process, so nothing that answers requests makes one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from .tally import FAMILIES, Series, Tally

INTERVAL_S = 1.0
_TOLD: Series = ("ml_told_timestamp_seconds",)


class Exporter:
    """Every second: what the tally has summed up, and the `gauges` as they are then.

    `family_of` makes a family of metrics (its name, help, and whether it only grows); `warn` hears once of what goes
    wrong, since metrics are no reason to fail. Two processes with one set of labels crash Triton 24.10 when one of them
    goes (its issue 8663), so every series names the process as well. What a process that was killed told last stays on
    the endpoint until Triton ends; when it was told says that nobody stands behind it any more.
    """

    def __init__(
        self,
        model: str,
        tally: Tally,
        gauges: Callable[[], Mapping[Series, float]],
        family_of: Callable[[str, str, bool], Any],
        warn: Callable[[str], None],
    ) -> None:
        self._labels = {"model": model, "process": str(os.getpid())}
        self._tally = tally
        self._gauges = gauges
        self._family_of = family_of
        self._warn = warn
        self._families: dict[str, Any] = {}
        self._series: dict[Series, Any] = {}
        self._failed = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def stop(self) -> None:
        """Tell the rest, and take the series back before the process that they name is gone."""
        self._end.set()
        self._thread.join()
        self._series.clear()
        self._families.clear()

    def _run(self) -> None:
        while not self._end.wait(INTERVAL_S):
            self._tell()
        self._tell()

    def _tell(self) -> None:
        try:
            for series, amount in self._tally.drain().items():
                self._metric(series).increment(amount)
            for series, value in self._gauges().items():
                self._metric(series).set(value)
            self._metric(_TOLD).set(time.time())
        # Whatever Triton says: the requests go on.
        except Exception as error:  # noqa: BLE001
            if not self._failed:
                self._failed = True
                self._warn(f"metrics cannot be told: {type(error).__name__}: {error}")

    def _metric(self, series: Series) -> Any:
        metric = self._series.get(series)
        if metric is None:
            name, *values = series
            family = FAMILIES[name]
            if name not in self._families:
                self._families[name] = self._family_of(name, family.help, family.grows)
            labels = dict(zip(family.labels, values, strict=True)) | self._labels
            metric = self._series[series] = self._families[name].Metric(labels=labels)
        return metric
