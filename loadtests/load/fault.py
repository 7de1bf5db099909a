"""A twin is killed while a load runs, and the watch repairs it, as `make serve` does."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import TracebackType

from serving import ModelControl
from serving.stubs import Stubs
from serving.watch.care import Policy
from serving.watch.rounds import Watch
from serving.watch.telling import Telling


class TwinKilled:
    """Kills every process of `model` `after_s` seconds after the context began; a watch looks after the server.

    `said` is what the watch told, each line with its time by the monotonic clock; `killed_at` is in seconds since the
    epoch, as Locust tells its seconds.
    """

    def __init__(self, grpc_url: str, server_pid: int, model: str, after_s: float) -> None:
        self._control = ModelControl(grpc_url)
        self._stubs = Stubs(server_pid)
        self._model = model
        self._after_s = after_s
        self._stop = threading.Event()
        self.said: list[tuple[float, str]] = []
        self.killed_at: float | None = None
        self._killed: float | None = None
        watch = Watch(self._control, Telling(self._note), policy=Policy(interval_s=1.0), stubs=self._stubs)
        self._threads = (
            threading.Thread(target=watch.run, args=(self._stop,), daemon=True),
            threading.Thread(target=self._kill, daemon=True),
        )

    def __enter__(self) -> TwinKilled:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._control.close()

    @property
    def back_after_s(self) -> float | None:
        """How long after the kill the watch saw the model answer again; None where it did not."""
        if (killed := self._killed) is None:
            return None
        # It may have been away before, for another reason.
        after = ((when, line) for when, line in self.said if when >= killed)
        return next((when - killed for when, line in after if f" {self._model} is back" in line), None)

    def _kill(self) -> None:
        if self._stop.wait(self._after_s):
            return
        for pid in self._stubs.of(self._model):
            os.kill(pid, signal.SIGKILL)
            self.killed_at, self._killed = time.time(), time.monotonic()

    def _note(self, line: str) -> None:
        self.said.append((time.monotonic(), line))
