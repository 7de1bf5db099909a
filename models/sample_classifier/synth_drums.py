"""Synthesise drums and cymbals, each with its own random make, as `synth_tones.py` does for the melodic families."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sound_files import SAMPLE_RATE
from synth_tones import SAMPLES

__all__ = ["DRUM_SOUNDS"]

TIME = (np.arange(SAMPLES) / SAMPLE_RATE).astype(np.float32)
Sound = NDArray[np.float32]
Random = np.random.Generator


def _log_uniform(random: Random, low: float, high: float) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _fall(seconds: float) -> Sound:
    """Fall by 60 dB in `seconds`."""
    return np.asarray(np.exp(-6.9 * TIME / seconds), dtype=np.float32)


def _band(random: Random, low: float, high: float) -> Sound:
    """White noise between two frequencies in Hz, with slopes of 12 dB an octave, at a level of 1."""
    spectrum = np.fft.rfft(random.normal(0, 1, SAMPLES))
    hertz = np.maximum(np.fft.rfftfreq(SAMPLES, 1 / SAMPLE_RATE), 1.0)
    noise = np.fft.irfft(spectrum / (1 + (low / hertz) ** 2) / (1 + (hertz / high) ** 2), SAMPLES)
    return np.asarray(noise / noise.std(), dtype=np.float32)


def _skin(random: Random, hertz: float, sweep: float, seconds: float) -> Sound:
    """A membrane: a sine that glides down from `sweep` times its pitch."""
    pitch = hertz * (1 + (sweep - 1) * np.exp(-TIME / random.uniform(0.01, 0.07)))
    return np.asarray(np.sin(2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE), dtype=np.float32) * _fall(seconds)


def _metal(random: Random, count: int, low: float, high: float) -> Sound:
    """Inharmonic partials, as of a plate, evenly spread over log frequency, at a level of 1."""
    sound = np.zeros(SAMPLES, dtype=np.float32)
    for _ in range(count):
        hertz = _log_uniform(random, low, high)
        sound += np.sin(2 * np.pi * (hertz * TIME + random.random())).astype(np.float32) * random.uniform(0.2, 1)
    return sound / max(float(sound.std()), 1e-6)


def _kick(random: Random) -> Sound:
    body = _skin(random, random.uniform(35, 75), random.uniform(1.2, 6.0), _log_uniform(random, 0.15, 1.1))
    beater = _band(random, 500, random.uniform(1500, 12000)) * _fall(random.uniform(0.01, 0.08))
    room = _band(random, 60, 3000) * _fall(random.uniform(0.1, 0.6))
    sound = body + random.uniform(0, 0.3) * beater + random.uniform(0, 0.04) * room
    return np.asarray(np.tanh(random.uniform(0.5, 3.0) * sound), dtype=np.float32)


def _snare(random: Random) -> Sound:
    seconds = _log_uniform(random, 0.12, 0.6)
    hertz = random.uniform(150, 330)
    shell = _skin(random, hertz, random.uniform(1.0, 1.6), seconds * random.uniform(0.4, 1.0))
    shell += random.uniform(0, 0.8) * _skin(random, hertz * random.uniform(1.5, 2.0), 1.1, seconds * 0.6)
    wires = _band(random, random.uniform(300, 2500), random.uniform(5000, 16000)) * _fall(seconds)
    return np.asarray(random.uniform(0.3, 1.2) * shell + random.uniform(0.25, 0.9) * wires, dtype=np.float32)


def _hi_hat(random: Random) -> Sound:
    """Two plates: struck while closed, struck while open, or clapped together by the foot, which starts softer."""
    way = random.choice(3, p=(0.45, 0.25, 0.3))
    seconds = _log_uniform(random, *((0.03, 0.35), (0.4, 1.6), (0.05, 0.4))[way])
    attack = random.uniform(*((0.0005, 0.01), (0.0005, 0.01), (0.002, 0.02))[way])
    low = _log_uniform(random, 700, 5000) if way == 2 else random.uniform(3000, 9000)
    plates = _metal(random, int(random.integers(6, 40)), low, 16000)
    sound = random.uniform(0.1, 1.0) * plates + random.uniform(0.2, 1.0) * _band(random, low, random.uniform(9e3, 18e3))
    chick = random.uniform(0, 0.25) * _band(random, 300, 2500) * _fall(random.uniform(0.02, 0.1))
    return np.asarray(sound * _fall(seconds) * np.minimum(TIME / attack, 1) + chick, dtype=np.float32)


def _cymbal(random: Random) -> Sound:
    seconds = _log_uniform(random, 1.2, 8.0)
    plates = _metal(random, int(random.integers(40, 120)), random.uniform(250, 1200), 14000)
    wash = _band(random, random.uniform(500, 3500), 16000)
    ping = random.uniform(0, 1.5) * _band(random, 2000, 12000) * _fall(random.uniform(0.03, 0.3))
    sound = random.uniform(0.2, 1.0) * plates + random.uniform(0.3, 1.0) * wash
    return np.asarray(
        sound * _fall(seconds) * np.minimum(TIME / random.uniform(0.001, 0.03), 1) + ping, dtype=np.float32
    )


def _tom(random: Random) -> Sound:
    hertz, seconds = _log_uniform(random, 65, 260), _log_uniform(random, 0.3, 1.6)
    sound = _skin(random, hertz, random.uniform(1.02, 1.8), seconds)
    sound += random.uniform(0, 0.5) * _skin(random, hertz * random.uniform(1.45, 1.7), 1.1, seconds * 0.5)
    stick = _band(random, 300, random.uniform(1500, 9000)) * _fall(random.uniform(0.02, 0.15))
    room = _band(random, 80, 6000) * _fall(seconds * random.uniform(0.3, 1.0))
    return np.asarray(sound + random.uniform(0, 0.3) * stick + random.uniform(0, 0.06) * room, dtype=np.float32)


DRUM_SOUNDS: dict[str, Callable[[Random], Sound]] = {
    "kick": _kick,
    "snare": _snare,
    "hi-hat": _hi_hat,
    "cymbal": _cymbal,
    "tom": _tom,
}
