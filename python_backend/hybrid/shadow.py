"""Is the twin still its original? A share of the answers is asked for again at the other twin, beside the callers' way.

One thread asks, one request at a time, for the same share of its time at most, and only while nothing falls back: an
original that takes ten times as long as its twin would else take a tenth of the machine for a hundredth of the answers.
"""

from __future__ import annotations

import contextlib
import math
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from .batch import Answer, Arrays, Batch
from .errors import TwinFailed
from .preference import other
from .settings import ShadowSettings, Tolerance
from .tally import Tally
from .tolerance import differences

# Samples that wait for the thread: each holds a copy of a request and of its answer.
_WAITING = 2
# Comparisons that the share of differing ones is taken of, and the least that say anything.
_WINDOW = 100
_LEAST = 20


@dataclass(frozen=True)
class Differing:
    """A request on which the twins differ by more than the release was proved with, and what each of them says."""

    inputs: Arrays
    onnx: Arrays
    original: Arrays
    cause: str


class Shadow:
    """Samples answers, and tells how they compare.

    `ask` asks a twin; it is asked while `idle` says so. `differed` hears of each request on which they differ, and
    `distrusted`, once, that too many did. Thread-safe.
    """

    def __init__(
        self,
        settings: ShadowSettings,
        tolerance: Tolerance,
        ask: Callable[[str, Batch], Answer],
        *,
        idle: Callable[[], bool],
        tally: Tally,
        differed: Callable[[Differing], None],
        distrusted: Callable[[str], None],
        dice: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._tolerance = tolerance
        self._ask = ask
        self._idle = idle
        self._tally = tally
        self._differed = differed
        self._distrusted = distrusted
        self._dice = dice
        self._clock = clock
        self._rests_until = -math.inf
        self._samples: queue.Queue[tuple[Batch, Answer] | None] = queue.Queue(_WAITING)
        self._last: deque[bool] = deque(maxlen=_WINDOW)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.worst: dict[str, float] = {}

    def start(self) -> None:
        """Begin to compare."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more samples. A call that is under way is left to itself."""
        self._settings = replace(self._settings, share=0.0)
        with self._samples.mutex:
            self._samples.queue.clear()
        with contextlib.suppress(queue.Full):
            self._samples.put_nowait(None)

    def consider(self, batch: Batch, answer: Answer) -> None:
        """Take one request's answer as a sample, or not. To be called before the answer is handed to its caller."""
        if self._dice() >= self._settings.share or not isinstance(answer.served_by, str):
            return
        if self._samples.full() or self._clock() < self._rests_until or not self._idle():
            self._tally.add("ml_shadow_total", "dropped")
            return
        # Once the caller has the answer, the server may use its memory for others.
        outputs = {name: np.array(array) for name, array in answer.outputs.items() if name in batch.asked}
        sample = batch.copy(), Answer(outputs, answer.served_by)
        try:
            self._samples.put_nowait(sample)
        except queue.Full:
            self._tally.add("ml_shadow_total", "dropped")

    def _run(self) -> None:
        while (sample := self._samples.get()) is not None:
            started = self._clock()
            try:
                result = self._compared(*sample) if self._idle() else "dropped"
            # Whatever it was, it is no reason to watch no longer.
            except Exception:  # noqa: BLE001
                result = "failed"
            self._tally.add("ml_shadow_total", result)
            ended = self._clock()
            # After that much work, as long a rest as makes it the share of the whole.
            share = self._settings.share
            self._rests_until = ended + (ended - started) * (1 / share - 1) if share else math.inf

    def _compared(self, batch: Batch, answer: Answer) -> str:
        """How the twins compare on one request: agreed, differed or failed."""
        try:
            second = self._ask(other(str(answer.served_by)), batch)
        except TwinFailed:
            return "failed"
        onnx, original = (answer, second) if answer.served_by == "onnx" else (second, answer)
        causes = [
            cause
            for name in sorted(batch.asked)
            if (cause := self._cause(name, onnx.outputs, original.outputs)) is not None
        ]
        self._last.append(bool(causes))
        if not causes:
            return "agreed"
        self._differed(Differing(batch.inputs(), onnx.outputs, original.outputs, "; ".join(causes)))
        differed = sum(self._last)
        if len(self._last) >= _LEAST and differed > self._settings.max_differing * len(self._last):
            self._distrusted(f"{differed} of its last {len(self._last)} sampled answers are not the original's")
        return "differed"

    def _cause(self, name: str, onnx: Arrays, original: Arrays) -> str | None:
        """Why the twins differ at an output, or None where they agree."""
        worst, cause = self._apart(name, onnx, original)
        # Above 1 they differ: so it is told of strings too, which do so by no number.
        if cause is not None and not worst > 1:
            worst = math.inf
        self.worst[name] = max(self.worst.get(name, 0.0), worst)
        return cause

    def _apart(self, name: str, onnx: Arrays, original: Arrays) -> tuple[float, str | None]:
        """How far the twins are apart at an output, over what is allowed, and why that is too far, if it is."""
        if name not in onnx or name not in original:
            return math.inf, f"output '{name}' is missing"
        got, expected = onnx[name], original[name]
        if (got.dtype, got.shape) != (expected.dtype, expected.shape):
            return (
                math.inf,
                f"output '{name}' is {got.dtype}{list(got.shape)}, not {expected.dtype}{list(expected.shape)}",
            )
        found, cause = differences(got, expected, **asdict(self._tolerance))
        worst = math.inf if found.worst is None else found.worst
        return worst, None if cause is None else f"output '{name}': {cause}"
