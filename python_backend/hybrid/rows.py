"""Where a twin's answer is right but for some of its rows: the other twin is asked for those alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .batch import Answer, Batch
from .errors import RowsRefused, TwinFailed
from .guard import bad_rows
from .settings import Settings


class SomeRowsRefused(RowsRefused):
    """The guard refused the rows of `answer` that are `bad`, and not all of them: the others may be handed on."""

    def __init__(self, twin: str, bad: NDArray[np.bool_], answer: Answer) -> None:
        super().__init__(twin, int(bad.sum()), len(bad))
        self.bad = bad
        self.answer = answer


def refused_rows(settings: Settings, answer: Answer, batch: Batch) -> NDArray[np.bool_] | None:
    """Which rows are bad in an output that their own request asks for; None if none is.

    What only others of the call ask for is not handed to it: it alone would have been answered.
    """
    bad = bad_rows(settings, answer.outputs, batch.asked, batch.rows)
    if bad is None or all(member.asked == batch.asked for member in batch.members):
        return bad
    start = 0
    for member in batch.members:
        rows = slice(start, start + member.rows)
        own = {name: answer.outputs[name][rows] for name in member.asked}
        found = bad_rows(settings, own, member.asked, member.rows)
        bad[rows] = False if found is None else found
        start = rows.stop
    return bad if bad.any() else None


def left_to_ask(batch: Batch, cause: TwinFailed) -> Batch:
    """What of a batch is to be asked again, after `cause`."""
    return batch.take(cause.bad) if isinstance(cause, SomeRowsRefused) else batch


def put_together(answer: Answer, cause: TwinFailed) -> Answer:
    """The answer to `left_to_ask`, together with what was right before."""
    return cause.answer.patched(cause.bad, answer) if isinstance(cause, SomeRowsRefused) else answer


def mixed(batch: Batch, cause: TwinFailed) -> int:
    """How many requests have rows of both twins, then."""
    if not isinstance(cause, SomeRowsRefused):
        return 0
    stops = np.cumsum([member.rows for member in batch.members])
    return sum(0 < rows.sum() < len(rows) for rows in np.split(cause.bad, stops[:-1]))
