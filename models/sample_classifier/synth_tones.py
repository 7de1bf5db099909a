"""Synthesise tones of the melodic families, each with its own random timbre.

The soundfont has few presets a family; a network trained on them alone learns the presets. These tones have the
mechanism of a family (struck, plucked, bowed, blown, drawn) and a timbre that is drawn anew for each sound.
All functions give mono float32 [SAMPLES] at SAMPLE_RATE.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sound_files import SAMPLE_RATE

__all__ = ["SAMPLES", "TONES"]

SAMPLES = round(1.7 * SAMPLE_RATE)
TIME = (np.arange(SAMPLES) / SAMPLE_RATE).astype(np.float32)
HARMONICS = 36
HIGHEST_HZ = 18_000.0
Sound = NDArray[np.float32]
Random = np.random.Generator


@dataclass
class Partials:
    """What an additive tone is made of: ratios to the fundamental, levels, seconds until each falls by 60 dB."""

    ratios: Sound
    amplitudes: Sound
    decays: Sound | None = None
    brightness: Sound | None = None  # cut-off over time, in multiples of the fundamental
    cents: Sound = field(default_factory=lambda: np.zeros(SAMPLES, dtype=np.float32))
    detune: float = 0.0
    voices: int = 1


def _log_uniform(random: Random, low: float, high: float) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _hertz(random: Random, lowest_key: int, highest_key: int) -> float:
    return float(440.0 * 2.0 ** ((random.uniform(lowest_key, highest_key) - 69.0) / 12.0))


def _additive(random: Random, hertz: float, partials: Partials) -> Sound:
    sound = np.zeros(SAMPLES, dtype=np.float32)
    for _ in range(partials.voices):
        bend = 2.0 ** ((partials.cents + random.uniform(-1, 1) * partials.detune) / 1200.0)
        turns = (np.cumsum(hertz * bend, dtype=np.float64) / SAMPLE_RATE).astype(np.float64)
        for index, ratio in enumerate(partials.ratios):
            if partials.amplitudes[index] < 1e-4 or hertz * ratio > HIGHEST_HZ:
                continue
            angle = ((turns * ratio + random.random()) % 1.0).astype(np.float32)
            wave = np.sin(2 * np.pi * angle) * partials.amplitudes[index]
            if partials.decays is not None:
                wave *= np.exp(-6.9 * TIME / partials.decays[index])
            if partials.brightness is not None:
                wave /= 1.0 + (ratio / partials.brightness) ** 4
            sound += wave
    return sound


def _gate(random: Random, attack: float, release: float) -> Sound:
    """Rise in `attack` seconds, hold until a random moment, fall by 60 dB in `release` seconds."""
    held = random.uniform(0.2, 1.5)
    return np.asarray(
        np.minimum(TIME / attack, 1.0) * np.exp(-6.9 * np.maximum(TIME - held, 0.0) / release), dtype=np.float32
    )


def _vibrato(random: Random, deepest_cents: float) -> Sound:
    onset = np.clip((TIME - random.uniform(0, 0.4)) / 0.3, 0, 1)
    swing = np.sin(2 * np.pi * random.uniform(4.5, 7.0) * TIME + random.uniform(0, 6))
    return np.asarray(random.uniform(0, deepest_cents) * onset * swing, dtype=np.float32)


def _noise(random: Random, seconds: float, level: float) -> Sound:
    return np.asarray(random.normal(0, level, SAMPLES) * np.exp(-6.9 * TIME / seconds), dtype=np.float32)


def _formants(random: Random, hertz: float, ratios: Sound, decibels: float) -> Sound:
    """Gains of a random body: a smooth curve over log frequency."""
    places = np.linspace(np.log(40.0), np.log(HIGHEST_HZ), 14)
    curve = np.interp(np.log(hertz * ratios), places, random.normal(0, decibels, places.size))
    return np.asarray(10.0 ** (curve / 20.0), dtype=np.float32)


def _harmonics(random: Random, hertz: float, slope: tuple[float, float], body_db: float = 4.0) -> tuple[Sound, Sound]:
    ratios = np.arange(1, HARMONICS + 1, dtype=np.float32)
    amplitudes = ratios ** -random.uniform(*slope) * _formants(random, hertz, ratios, body_db)
    return ratios, np.asarray(amplitudes, dtype=np.float32)


def _string(random: Random, hertz: float, slope: tuple[float, float], stiffness: float, ring: float) -> Partials:
    """A plucked or struck string: a comb from where it is hit, stretched partials, high ones falling first."""
    ratios, amplitudes = _harmonics(random, hertz, slope)
    amplitudes *= np.abs(np.sin(np.pi * ratios * random.uniform(0.06, 0.45))) + 0.03
    decays = ring / (1.0 + ratios * random.uniform(0.02, 0.35))
    stretched = ratios * np.sqrt(1.0 + stiffness * ratios**2)
    return Partials(stretched.astype(np.float32), amplitudes, decays.astype(np.float32))


def _driven(random: Random, sound: Sound) -> Sound:
    return np.asarray(np.tanh(_log_uniform(random, 1.5, 25.0) * sound / np.abs(sound).max()), dtype=np.float32)


def _filtered_wave(random: Random) -> Partials:
    """A saw, a pulse or a triangle through a low-pass that may close."""
    ratios = np.arange(1, HARMONICS + 1, dtype=np.float32)
    width = random.uniform(0.08, 0.5)
    waves = (
        1 / ratios,
        np.abs(np.sin(np.pi * ratios * width)) / ratios,
        (ratios % 2) / ratios,
        (ratios % 2) / ratios**2,
    )
    amplitudes = waves[int(random.integers(len(waves)))].astype(np.float32)
    start, end = _log_uniform(random, 4.0, 60.0), _log_uniform(random, 2.0, 40.0)
    brightness = end + (start - end) * np.exp(-TIME / random.uniform(0.05, 0.6))
    return Partials(ratios, amplitudes, brightness=brightness.astype(np.float32))


def _bass(random: Random) -> Sound:
    hertz = _hertz(random, 28, 55)
    if random.random() < 0.3:
        partials = _filtered_wave(random)
        partials.voices, partials.detune = int(random.integers(1, 3)), 8.0
        return _additive(random, hertz, partials) * _gate(random, 0.004, random.uniform(0.05, 0.3))
    partials = _string(random, hertz, (0.8, 2.4), random.uniform(0, 2e-4), random.uniform(1.5, 8.0))
    return (_additive(random, hertz, partials) + _noise(random, 0.03, random.uniform(0, 0.15))) * _gate(
        random, random.uniform(0.001, 0.012), random.uniform(0.05, 0.3)
    )


def _guitar(random: Random) -> Sound:
    hertz = _hertz(random, 40, 76)
    partials = _string(random, hertz, (0.4, 1.8), random.uniform(0, 2e-4), random.uniform(0.6, 7.0))
    partials.voices, partials.detune = int(random.integers(1, 3)), random.uniform(0, 8)
    pluck = _additive(random, hertz, partials) + _noise(random, 0.02, random.uniform(0, 0.25))
    if random.random() < 0.35:
        pluck = _driven(random, pluck)
    return pluck * _gate(random, random.uniform(0.001, 0.006), random.uniform(0.05, 0.5))


def _electric_piano(random: Random, hertz: float) -> Sound:
    """Two frequency-modulated pairs: a body and a bell that dies first (Chowning, 1973)."""
    sound = np.zeros(SAMPLES, dtype=np.float32)
    ring = random.uniform(1.5, 6.0) * (220.0 / hertz) ** 0.3
    for ratio, fall, level in ((1.0, 1.0, 1.0), (float(random.choice([2, 3, 4, 7, 11, 14])), 0.25, 0.5)):
        index = random.uniform(0.2, 2.0) * np.exp(-6.9 * TIME / (ring * fall * 0.6))
        modulator = np.sin(2 * np.pi * hertz * ratio * TIME)
        carrier = np.sin(2 * np.pi * hertz * TIME + index * modulator)
        sound += np.asarray(level * random.uniform(0.4, 1.0) * carrier * np.exp(-6.9 * TIME / (ring * fall)))
    tremolo = 1 + random.uniform(0, 0.3) * np.sin(2 * np.pi * random.uniform(3, 7) * TIME)
    return np.asarray(sound * tremolo, dtype=np.float32)


def _piano(random: Random) -> Sound:
    hertz = _hertz(random, 33, 96)
    if random.random() < 0.5:
        return _electric_piano(random, hertz) * _gate(random, 0.003, random.uniform(0.1, 0.6))
    ring = random.uniform(1.5, 8.0) * (220.0 / hertz) ** 0.5
    partials = _string(random, hertz, (0.8, 2.2), _log_uniform(random, 5e-5, 2e-3), ring)
    partials.voices, partials.detune = int(random.integers(1, 4)), random.uniform(0, 4)
    knock = _noise(random, 0.04, random.uniform(0, 0.1))
    return (_additive(random, hertz, partials) + knock) * _gate(random, 0.003, random.uniform(0.1, 0.6))


def _organ(random: Random) -> Sound:
    """Drawbars or pipes: steady partials at octaves and fifths, a click, perhaps a rotating speaker and overdrive."""
    hertz = _hertz(random, 36, 96)
    ratios = np.array([0.5, 1.5, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16], dtype=np.float32)
    drawn = random.random(ratios.size) < np.array([0.5, 0.4, 0.97, 0.75, 0.6, 0.5, 0.3, 0.4, 0.5, 0.15, 0.15, 0.2])
    partials = Partials(ratios, (drawn * random.uniform(0.1, 1.0, ratios.size)).astype(np.float32))
    partials.amplitudes[2] = max(partials.amplitudes[2], 0.3)
    rate = float(random.choice([0.8, 6.7])) * random.uniform(0.8, 1.2)
    turning = np.sin(2 * np.pi * rate * TIME + random.uniform(0, 6))
    partials.cents = (random.uniform(0, 12) * turning).astype(np.float32)
    if random.random() < 0.4:
        partials.voices, partials.detune = 2, random.uniform(0, 10)
    sound = _additive(random, hertz, partials)
    if random.random() < 0.5:
        struck = np.sin(2 * np.pi * hertz * float(random.choice([2, 3])) * TIME) * np.exp(-TIME * random.uniform(4, 14))
        sound += (random.uniform(0.3, 1.2) * struck).astype(np.float32)
    sound += _noise(random, 0.015, random.uniform(0, 0.5))
    if random.random() < 0.3:
        sound = _driven(random, sound)
    sound *= (1 + random.uniform(0, 0.35) * turning).astype(np.float32)
    return sound * _gate(random, _log_uniform(random, 0.003, 0.06), random.uniform(0.02, 0.15))


def _strings(random: Random) -> Sound:
    hertz = _hertz(random, 36, 92)
    ratios, amplitudes = _harmonics(random, hertz, (0.7, 1.5), 6.0)
    partials = Partials(ratios, amplitudes, cents=_vibrato(random, 35.0))
    partials.voices, partials.detune = int(random.choice([1, 1, 3, 5])), random.uniform(4, 14)
    bow = _noise(random, 20.0, random.uniform(0, 0.08))
    return (_additive(random, hertz, partials) + bow) * _gate(
        random, _log_uniform(random, 0.03, 0.35), random.uniform(0.15, 0.7)
    )


def _brass(random: Random) -> Sound:
    """Lips that open with the breath: the louder, the brighter, with a scoop up to the note."""
    hertz = _hertz(random, 40, 80)
    ratios, amplitudes = _harmonics(random, hertz, (0.2, 1.0), 3.0)
    attack = random.uniform(0.02, 0.12)
    opened = _log_uniform(random, 3.0, 25.0) * np.minimum(0.15 + TIME / (attack * random.uniform(1, 2)), 1.0)
    scoop = -random.uniform(0, 60) * np.exp(-TIME / 0.03)
    partials = Partials(ratios, amplitudes, brightness=opened.astype(np.float32))
    partials.cents = (scoop + _vibrato(random, 12.0)).astype(np.float32)
    partials.voices, partials.detune = int(random.choice([1, 1, 2, 4])), random.uniform(2, 8)
    breath = _noise(random, 20.0, random.uniform(0, 0.02))
    return (_additive(random, hertz, partials) + breath) * _gate(random, attack, random.uniform(0.05, 0.3))


def _lead(random: Random) -> Sound:
    hertz = _hertz(random, 48, 96)
    partials = _filtered_wave(random)
    partials.brightness = None if partials.brightness is None else partials.brightness + 8.0
    partials.cents = _vibrato(random, 20.0)
    partials.voices, partials.detune = int(random.integers(1, 4)), random.uniform(0, 20)
    sound = _additive(random, hertz, partials)
    if random.random() < 0.25:
        sound += random.uniform(0.3, 1.0) * _additive(random, hertz * 1.4983, partials)
    return sound * _gate(random, random.uniform(0.001, 0.03), random.uniform(0.03, 0.3))


TONES: dict[str, Callable[[Random], Sound]] = {
    "bass": _bass,
    "guitar": _guitar,
    "piano": _piano,
    "organ": _organ,
    "strings": _strings,
    "brass": _brass,
    "lead": _lead,
}
