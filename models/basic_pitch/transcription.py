"""Read notes out of Basic Pitch's answer, and score them against the notes that were played.

The way from activations to notes is that of the paper (Bittner et al., ICASSP 2022, section 3.2), with the defaults of
the package: an onset counts from 0.5, a frame belongs to a note from 0.3, and a note lasts at least 127.7 ms.
"""

from __future__ import annotations

import numpy as np
from chords import RATE
from mir_eval.transcription import precision_recall_f1_overlap
from numpy.typing import NDArray

__all__ = ["note_f1", "notes_of"]

ONSET, FRAME = 0.5, 0.3
FRAMES_A_SECOND = RATE / 256
SHORTEST = round(0.1277 * FRAMES_A_SECOND)
# A note ends where its frames stay under the threshold for this long.
SILENT = 11
# The piano's lowest A, of the model's 88 pitches.
LOWEST = 21
# MIREX's first set-up for note tracking: onsets within 50 ms, pitches within a quarter tone, offsets ignored.
ONSET_TOLERANCE_S, PITCH_TOLERANCE_CENTS = 0.05, 50.0
Activation = NDArray[np.float32]
Found = tuple[int, int, int]  # pitch of 88, first frame, frame after the last


def note_f1(outputs: dict[str, Activation], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """The F1 of the notes heard in each window: float64 [rows], from 0 to 1.

    `outputs` has note and onset, float32 [rows, frames, 88]; `labels` is float64 [rows, most notes, 3], as `music.py`
    makes them.
    """
    return np.array([_f1(*each) for each in zip(outputs["note"], outputs["onset"], labels, strict=True)])


def _f1(note: Activation, onset: Activation, label: NDArray[np.float64]) -> float:
    played, heard = label[~np.isnan(label[:, 0])], notes_of(note, onset)
    if not len(played) or not len(heard):
        return float(len(played) == len(heard))
    return float(
        precision_recall_f1_overlap(
            played[:, 1:],
            _hertz(played[:, 0]),
            heard[:, 1:],
            _hertz(heard[:, 0]),
            onset_tolerance=ONSET_TOLERANCE_S,
            pitch_tolerance=PITCH_TOLERANCE_CENTS,
            offset_ratio=None,
        )[2]
    )


def _hertz(pitches: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(440.0 * 2.0 ** ((pitches - 69) / 12))


def notes_of(note: Activation, onset: Activation) -> NDArray[np.float64]:
    """The notes of one window, [frames, 88] each: float64 [notes, 3], MIDI number, onset and offset in seconds."""
    left = note.copy()
    found = [*_from_onsets(left, _peaks(_with_rises(note, onset))), *_from_what_is_left(left)]
    rows = [(LOWEST + pitch, first / FRAMES_A_SECOND, end / FRAMES_A_SECOND) for pitch, first, end in sorted(found)]
    return np.array(rows, np.float64).reshape(-1, 3)


def _with_rises(note: Activation, onset: Activation) -> Activation:
    """The onsets, and where a pitch has risen over both the last frame and the one before, scaled to their largest."""
    rises = np.zeros_like(note)
    rises[2:] = np.maximum(np.minimum(note[2:] - note[1:-1], note[2:] - note[:-2]), 0)
    return np.maximum(onset, rises * (onset.max() / (rises.max() or 1)))


def _peaks(onset: Activation) -> NDArray[np.bool_]:
    """Where an onset is higher than in the frame before and the one after, and high enough: bool [frames, 88]."""
    peaks = np.zeros(onset.shape, np.bool_)
    inner = onset[1:-1]
    peaks[1:-1] = (inner > onset[:-2]) & (inner > onset[2:]) & (inner >= ONSET)
    return peaks


def _from_onsets(left: Activation, peaks: NDArray[np.bool_]) -> list[Found]:
    """The notes that start at peaks, the last ones first; what they sound in is taken out of `left`."""
    found = []
    for first, pitch in reversed(np.argwhere(peaks).tolist()):
        end = first + _length(left[first:, pitch])
        if end - first > SHORTEST:
            _take(left, pitch, first, end)
            found.append((pitch, first, end))
    return found


def _from_what_is_left(left: Activation) -> list[Found]:
    """The notes without a clear onset: from the loudest frame in both directions, until none is loud enough."""
    found = []
    while left.max() > FRAME:
        middle, pitch = (int(index) for index in np.unravel_index(left.argmax(), left.shape))
        end = middle + _length(left[middle:, pitch])
        first = middle + 1 - _length(left[middle::-1, pitch])
        _take(left, pitch, first, end)
        if end - first > SHORTEST:
            found.append((pitch, first, end))
    return found


def _length(frames: Activation) -> int:
    """How many frames sound on from the first, up to the last one before a silence."""
    sounding = np.flatnonzero(frames[1:] >= FRAME) + 1
    breaks = np.flatnonzero(np.diff(sounding, prepend=0) > SILENT)
    heard = sounding[: breaks[0]] if breaks.size else sounding
    return int(heard[-1]) + 1 if heard.size else 1


def _take(left: Activation, pitch: int, first: int, end: int) -> None:
    """Silence a note and its neighbours, which sound along with it."""
    left[first:end, max(pitch - 1, 0) : pitch + 2] = 0
