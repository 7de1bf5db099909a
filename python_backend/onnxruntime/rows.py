"""Run a call of several rows in parts, all at once, each on a session of one thread.

Threads that share a row meet after every operator, and where others want the processors too, each meeting waits for
whoever was put aside. Parts of a batch meet once, at the end. The C++ backend has no such thing and ignores the
parameter: there all threads share every row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise

import numpy as np

from .runner import Array, Run

__all__ = ["SplitRows"]


class SplitRows:
    """Runs a batched graph: a single row by `whole`, more of them in up to `parts` parts by `single`, side by side.

    Both give the outputs of the same graph; `single` is called by several threads at once. Once the outputs of parts do
    not make up those of a batch (a dimension that follows the data, or none for the rows), `whole` runs all.
    """

    def __init__(self, whole: Run, single: Run, parts: int) -> None:
        self._whole = whole
        self._single = single
        self._parts = parts
        # The caller's own thread runs a part as well.
        self._pool = ThreadPoolExecutor(parts - 1, thread_name_prefix="rows")

    def __call__(self, names: list[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
        """As ONNX Runtime's own run: output names and inputs by name; the outputs in that order."""
        rows = min((array.shape[0] if array.ndim else 1 for array in feeds.values()), default=1)
        parts = min(self._parts, rows)
        if parts < 2:
            return self._whole(names, feeds)
        edges = [rows * number // parts for number in range(parts + 1)]
        own, *others = ({name: array[start:end] for name, array in feeds.items()} for start, end in pairwise(edges))
        running = [self._pool.submit(self._single, names, part) for part in others]
        try:
            first = self._single(names, own)
        finally:
            # Whatever happened: a part that runs on would take a processor from the next call.
            wait(running)
        outputs = [first, *(part.result() for part in running)]
        joined = [_joined(arrays, edges) for arrays in zip(*outputs, strict=True)]
        found = [array for array in joined if array is not None]
        if len(found) == len(joined):
            return found
        self._parts = 1
        return self._whole(names, feeds)


def _joined(parts: Sequence[Array], edges: Sequence[int]) -> Array | None:
    """One output of the whole batch, None where the parts do not fit."""
    wanted = [end - start for start, end in pairwise(edges)]
    if [array.shape[:1] for array in parts] != [(rows,) for rows in wanted]:
        return None
    if len({array.shape[1:] for array in parts}) > 1:
        return None
    return np.concatenate(parts)
