"""Run a batched graph at a few batch sizes only, each on a session of its own; batches between them are filled up.

On CUDA, convolutions are planned for the shape of their input, and each keeps the plan of the last shape alone (ONNX
Runtime's providers/cuda/nn/conv.cc, since 1.20). Where batches come in many sizes, as Triton forms them, nearly every
call plans all of them anew: a second for fifty convolutions, where the call itself takes two milliseconds. A session
that meets one shape plans once. The C++ backend has no such thing and ignores the parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .runner import Array, Run

__all__ = ["Filler", "PaddedRows", "padded_sizes"]


def padded_sizes(largest: int) -> tuple[int, ...]:
    """1, 2, 3, 4, 6, 8, 12, … and the largest batch, so that most batches are filled up by a third at most.

    A size just below the largest is left out: it would gain less than its session takes.
    """
    if largest == 1:
        return (1,)
    steps = sorted(step << power for power in range(largest.bit_length()) for step in (2, 3))
    return (1, *(size for size in steps if size * 8 < largest * 7), largest)


class PaddedRows:
    """Runs a batched graph at the `sizes` given, ascending.

    `open_run` gives a size's run, when it is first met: one for up to that many rows, whose outputs have that many.
    `whole` takes batches as they come: those that are larger than all sizes, or empty, and all of them once an output
    shows that it does not have the rows of its batch. One call at a time.
    """

    def __init__(self, whole: Run, sizes: Sequence[int], open_run: Callable[[int], Run]) -> None:
        self._whole = whole
        self._sizes = tuple(sizes)
        self._open_run = open_run
        self._runs: dict[int, Run] = {}
        self._fits = True

    def __call__(self, names: list[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
        """As ONNX Runtime's own run: output names and inputs by name; the outputs in that order."""
        rows = min((array.shape[0] if array.ndim else 0 for array in feeds.values()), default=0)
        size = next((size for size in self._sizes if size >= rows), None)
        if size is None or not rows or not self._fits:
            return self._whole(names, feeds)
        outputs = self._run(size)(names, feeds)
        if any(array.shape[:1] != (size,) for array in outputs):
            self._fits = False
            return self._whole(names, feeds)
        return [array[:rows] for array in outputs]

    def warm(self, names: list[str], row: Mapping[str, Array]) -> None:
        """Open and run every size now, with one row of each input repeated: no caller waits for it later."""
        for size in self._sizes:
            self(names, {name: np.repeat(array, size, axis=0) for name, array in row.items()})

    def _run(self, size: int) -> Run:
        if size not in self._runs:
            self._runs[size] = self._open_run(size)
        return self._runs[size]


class Filler:
    """Fills batches up with rows that the graph can take: copies of the last one, or what earlier calls left.

    The memory is kept: to get some megabytes anew for each call takes longer than to copy them.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Array] = {}

    def __call__(self, feeds: Mapping[str, Array], size: int) -> dict[str, Array]:
        """The feeds with `size` rows each. They hold until the next call."""
        return {name: self._filled(name, array, size) for name, array in feeds.items()}

    def _filled(self, name: str, array: Array, size: int) -> Array:
        rows, kept = len(array), self._kept.get(name)
        if rows == size:
            return array
        if kept is None or len(kept) < size or kept.shape[1:] != array.shape[1:] or kept.dtype != array.dtype:
            kept = self._kept[name] = np.repeat(array[-1:], size, axis=0)
        kept[:rows] = array
        return kept[:size]
