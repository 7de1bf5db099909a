"""Turn a one-shot sample into the picture that the network sees: a log-mel spectrogram and its two slopes.

| step | value |
| --- | --- |
| sample rate | 44,100 Hz, mono |
| start | 5 ms before the signal first reaches 1 % of its peak |
| window | periodic Hann, 4,096 samples (93 ms), frames centred, zeros outside the signal |
| hop | 512 samples (11.6 ms); 128 frames = 1.49 s, shorter samples end in silence |
| mel scale | O'Shaughnessy, m = 2595 log10(1 + f / 700) (Speech Communication, 1987, p. 150; as in HTK) |
| filters | 128 triangles with peak 1 on the power spectrum, evenly spaced in mel from 30 Hz to 18,000 Hz |
| level | decibels under the loudest cell of the picture, cut at -80 dB, scaled so that -80 dB = 0 and 0 dB = 1 |

A level is kept as one of 256 steps (0.31 dB), so that a picture stored as uint8 and one made from the sound are equal.
Only numpy is needed.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from sound_files import SAMPLE_RATE

__all__ = ["FRAMES", "MELS", "from_onset", "levels", "mel_centres", "picture"]

WINDOW = 4_096
HOP = 512
FRAMES = 128
MELS = 128
LOWEST_HZ = 30.0
HIGHEST_HZ = 18_000.0
RANGE_DB = 80.0
ONSET_LEVEL = 0.01
LEAD_IN = SAMPLE_RATE // 200


def _mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0), dtype=np.float64)


@lru_cache(maxsize=1)
def _edges() -> NDArray[np.float64]:
    """Band edges and centres in Hz, [MELS + 2]: band i rises from edge i to i + 1 and falls to i + 2."""
    mels = np.linspace(_mel(LOWEST_HZ), _mel(HIGHEST_HZ), MELS + 2)
    return np.asarray(700.0 * (10.0 ** (mels / 2595.0) - 1.0), dtype=np.float64)


def mel_centres() -> NDArray[np.float64]:
    """Give the centre of each mel band in Hz, float64 [128], rising."""
    return _edges()[1:-1].copy()


@lru_cache(maxsize=1)
def _filters() -> NDArray[np.float32]:
    """Triangular mel filters, float32 [MELS, WINDOW // 2 + 1]."""
    bins = np.fft.rfftfreq(WINDOW, 1.0 / SAMPLE_RATE)
    low, centre, high = (_edges()[i : i + MELS, None] for i in range(3))
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    return np.maximum(triangles, 0.0).astype(np.float32)


def from_onset(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """Drop what comes earlier than 5 ms before a signal [samples] first reaches 1 % of its peak."""
    loud = np.abs(signal) >= ONSET_LEVEL * np.abs(signal).max()
    return signal[max(int(np.argmax(loud)) - LEAD_IN, 0) :]


def levels(signal: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Measure a mono signal [samples] at 44,100 Hz: uint8 [128 bands, 128 frames], low bands first, 255 = loudest.

    Silence gives zeros. Raises ValueError when the signal is empty, not one-dimensional or not finite.
    """
    if signal.ndim != 1 or signal.size == 0 or not np.isfinite(signal).all():
        raise ValueError(
            f"expected a finite signal of shape [samples], found shape {list(signal.shape)}; check the sound"
        )
    if not signal.any():
        return np.zeros((MELS, FRAMES), dtype=np.uint8)
    padded = np.zeros(WINDOW + (FRAMES - 1) * HOP, dtype=np.float32)
    start = from_onset(signal)[: padded.size - WINDOW // 2]
    padded[WINDOW // 2 : WINDOW // 2 + start.size] = start / np.abs(start).max()
    hann = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP] * hann
    power = _filters() @ (np.abs(np.fft.rfft(windows, axis=1)) ** 2).T.astype(np.float32)
    decibels = 10.0 * np.log10(np.maximum(power / power.max(), 10.0 ** (-RANGE_DB / 10.0)))
    return np.asarray(np.rint((decibels / RANGE_DB + 1.0) * 255.0), dtype=np.uint8)


def picture(steps: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Expand levels, uint8 [..., 128, 128], to the network's input, float32 [..., 128, 128, 3].

    Channel 0 is the level in [0, 1]; channels 1 and 2 are its central differences along time and along frequency,
    x[i + 1] - x[i - 1] in [-1, 1], with the edge repeated.
    """
    level = steps.astype(np.float32) / 255.0
    ahead = [(0, 0)] * (level.ndim - 2)
    wide = np.pad(level, [*ahead, (0, 0), (1, 1)], mode="edge")
    tall = np.pad(level, [*ahead, (1, 1), (0, 0)], mode="edge")
    over_time = wide[..., 2:] - wide[..., :-2]
    over_frequency = tall[..., 2:, :] - tall[..., :-2, :]
    return np.stack([level, over_time, over_frequency], axis=-1)
