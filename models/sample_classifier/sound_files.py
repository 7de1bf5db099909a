"""Read and write one-shot samples as 16-bit WAV files."""

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["SAMPLE_RATE", "read_wav", "write_wav"]

SAMPLE_RATE = 44_100


def read_wav(path: Path) -> NDArray[np.float32]:
    """Read a 16-bit PCM WAV at 44,100 Hz as mono float32 [samples] in [-1, 1]; channels are averaged.

    Raises ValueError for another format.
    """
    with wave.open(str(path), "rb") as sound:
        width, rate, channels = sound.getsampwidth(), sound.getframerate(), sound.getnchannels()
        frames = sound.readframes(sound.getnframes())
    if width != 2 or rate != SAMPLE_RATE:
        raise ValueError(
            f"{path}: expected 16-bit samples at {SAMPLE_RATE} Hz, found {8 * width}-bit at {rate} Hz; convert the file"
        )
    samples = np.frombuffer(frames, dtype="<i2").reshape(-1, channels)
    return np.asarray(samples.mean(axis=1) / 32_768, dtype=np.float32)


def write_wav(path: Path, signal: NDArray[np.float32]) -> None:
    """Write a mono signal [samples] at 44,100 Hz as 16-bit PCM, its peak brought to 70 % of full scale."""
    scaled = np.rint(signal / np.abs(signal).max() * 0.7 * 32_767).astype("<i2")
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLE_RATE)
        sound.writeframes(scaled.tobytes())
