"""Twins that take large batches in pieces: which size of piece, if any, is faster than the whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx

from ..microbatch import divisible, microbatched
from .candidates import Trial
from .gates import Gates

__all__ = ["microbatch_trials"]

# Less is not worth a graph that is harder to read.
_GAIN = 1.03

# How much faster than the first of them each trial is at the largest batch, its ratio of times.
Gains = Callable[[Sequence[Trial]], Sequence[float]]


def microbatch_trials(whole: Trial, pieces: Sequence[int], largest: int, gates: Gates, gains: Gains) -> list[Trial]:
    """A trial for each of `pieces` of which `largest` rows make two or more, all but the fastest with a fate decided.

    The fastest has none where it beats `whole`, which stays as it is.
    """
    assert whole.path is not None
    graph = onnx.load(whole.path)
    if not divisible(graph):
        return []
    trials = [
        gates.admit(whole.in_microbatches(rows), microbatched(graph, rows)) for rows in pieces if 2 * rows <= largest
    ]
    held = [trial for trial in trials if trial.alive]
    if held:
        found = dict(zip((trial.name for trial in held), list(gains([whole, *held]))[1:], strict=True))
        best = max(held, key=lambda trial: found[trial.name])
        wins = found[best.name] >= _GAIN
        rival, share = (best.name, found[best.name]) if wins else (whole.name, 1.0)
        for trial in held:
            if not (wins and trial is best):
                reason = f"{found[trial.name] / share:.2f} times as fast as {rival} at {largest} rows"
                gates.discard(trial.end("slower", reason))
    return trials
