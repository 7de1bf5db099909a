"""Twins that take large batches in pieces: which size of piece, if any, is worth having."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx

from ..graphs.microbatch import divisible, microbatched
from .candidates import Trial
from .gates import Gates

__all__ = ["microbatch_trials", "whole_or_in_pieces"]

# By less than this factor no race tells which of two is faster: the quartiles of its rounds lie as far apart.
_SAME = 1.05
# The part of the whole batch's memory that pieces may take to be worth a graph that is harder to read.
_LEAN = 0.8
# So much slower they may be where they take no more than half of it, which every instance of the twin takes.
_LITTLE, _HALF = 1.1, 0.5

# How much faster than the first of them each trial is at the largest batch, its ratio of times.
Gains = Callable[[Sequence[Trial]], Sequence[float]]


def microbatch_trials(whole: Trial, pieces: Sequence[int], largest: int, gates: Gates, gains: Gains) -> list[Trial]:
    """A trial for each of `pieces` of which `largest` rows make two or more, all but the fastest with a fate decided.

    The fastest has none where it may be little slower than `whole`, which stays as it is.
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
        races = found[best.name] > 1 / _LITTLE
        rival, share = (best.name, found[best.name]) if races else (whole.name, 1.0)
        for trial in held:
            if not (races and trial is best):
                reason = f"{found[trial.name] / share:.2f} times as fast as {rival} at {largest} rows"
                gates.discard(trial.end("slower", reason))
    return trials


def whole_or_in_pieces(
    winner: Trial,
    finalists: Sequence[Trial],
    share: Callable[[Trial, Trial], float],
    megabytes: Callable[[Trial], float],
) -> Trial:
    """The winner of a race, or one that is little slower, where one of the two takes large batches in pieces.

    `share` is how many times as fast as a second one a first one was, `megabytes` is what one takes. Pieces that are
    as fast are worth having where they take clearly less, and little slower ones where they take half.
    """

    def rivals(other: Trial) -> bool:
        differ = bool(other.candidate.microbatch) is not bool(winner.candidate.microbatch)
        same = other.candidate.precision == winner.candidate.precision
        return differ and same and share(other, winner) > 1 / _LITTLE

    found = [one for one in finalists if rivals(one)]
    if not found:
        return winner
    rival = max(found, key=lambda one: share(one, winner))
    whole, pieces = (rival, winner) if winner.candidate.microbatch else (winner, rival)
    gain = share(pieces, whole)
    if gain > _SAME:
        return pieces
    allowed = _LEAN if gain > 1 / _SAME else _HALF
    return pieces if megabytes(pieces) <= allowed * megabytes(whole) else whole
