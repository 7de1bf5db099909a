"""Play notes with FluidSynth, one after another in a single MIDI file, and cut the recording into one-shots.

Reverb and chorus are off and nothing is random: the same notes give the same samples.
"""

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from notes import DRUM_BANK, Note
from numpy.typing import NDArray
from sound_files import SAMPLE_RATE

__all__ = ["SOUNDFONT", "MissingSynthesiserError", "midi_file", "render", "require_synthesiser"]

SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
SLOT_SECONDS = 2.0
SILENCE_AT_SECONDS = 1.9
TICKS_A_SECOND = 960  # 480 ticks a quarter note at MIDI's default of 120 quarter notes a minute
BEND_SEMITONES = 12
NOTES_A_RUN = 210
TIMEOUT_SECONDS = 600


class MissingSynthesiserError(RuntimeError):
    """FluidSynth or the soundfont is not installed."""

    def __init__(self, missing: str) -> None:
        super().__init__(
            f"{missing} was not found; install the Debian packages: "
            "apt-get install --no-install-recommends fluidsynth fluid-soundfont-gm"
        )


def require_synthesiser() -> None:
    """Raise MissingSynthesiserError unless fluidsynth and the soundfont are there."""
    if shutil.which("fluidsynth") is None:
        raise MissingSynthesiserError("the program fluidsynth")
    if not SOUNDFONT.exists():
        raise MissingSynthesiserError(f"the soundfont {SOUNDFONT}")


def _variable_length(value: int) -> bytes:
    septets = [value & 0x7F]
    while value := value >> 7:
        septets.append(0x80 | value & 0x7F)
    return bytes(reversed(septets))


def _events(note: Note) -> list[tuple[float, bytes]]:
    """MIDI messages of one slot with their time in seconds from its start."""
    channel = 9 if note.bank == DRUM_BANK else 0
    control = 0xB0 | channel
    bend = 8192 + round(8191 * note.cents / (100 * BEND_SEMITONES))
    bank = [] if note.bank == DRUM_BANK else [bytes([control, 0, note.bank])]
    setup = [
        *bank,
        bytes([0xC0 | channel, note.program]),
        bytes([control, 101, 0]),
        bytes([control, 100, 0]),
        bytes([control, 6, BEND_SEMITONES]),
        bytes([0xE0 | channel, bend & 0x7F, bend >> 7]),
        bytes([0x90 | channel, note.key, note.velocity]),
    ]
    release = bytes([0x80 | channel, note.key, 0])
    all_sound_off = bytes([control, 120, 0])
    return [*((0.0, message) for message in setup), (note.hold_seconds, release), (SILENCE_AT_SECONDS, all_sound_off)]


def midi_file(notes: Sequence[Note]) -> bytes:
    """Write a standard MIDI file, format 0, with one slot of two seconds for each note."""
    track = bytearray()
    now = 0
    for slot, note in enumerate(notes):
        for seconds, message in _events(note):
            tick = round((slot * SLOT_SECONDS + seconds) * TICKS_A_SECOND)
            track += _variable_length(tick - now) + message
            now = tick
    track += _variable_length(round(len(notes) * SLOT_SECONDS * TICKS_A_SECOND) - now) + b"\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + b"MTrk" + struct.pack(">I", len(track)) + bytes(track)


def _play(notes: Sequence[Note], folder: Path) -> NDArray[np.float32]:
    """Render to mono at 44,100 Hz."""
    score, sound = folder / "notes.mid", folder / "notes.raw"
    score.write_bytes(midi_file(notes))
    command = ["fluidsynth", "--quiet", "--no-shell", "--no-midi-in", "--reverb=0", "--chorus=0", "--gain=0.6"]
    command += ["--sample-rate=44100", "--audio-file-type=raw", "--audio-file-format=float", f"--fast-render={sound}"]
    command += ["-o", "synth.cpu-cores=1", str(SOUNDFONT), str(score)]
    subprocess.run(command, check=True, timeout=TIMEOUT_SECONDS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stereo = np.fromfile(sound, dtype="<f4").reshape(-1, 2)
    return np.asarray(stereo.mean(axis=1), dtype=np.float32)


def render(notes: Sequence[Note]) -> Iterator[NDArray[np.float32]]:
    """Yield each note as mono float32 [88200] at 44,100 Hz, two seconds with the tail in silence.

    Raises MissingSynthesiserError, subprocess.CalledProcessError or subprocess.TimeoutExpired.
    """
    require_synthesiser()
    slot = round(SLOT_SECONDS * SAMPLE_RATE)
    for start in range(0, len(notes), NOTES_A_RUN):
        part = notes[start : start + NOTES_A_RUN]
        with tempfile.TemporaryDirectory() as folder:
            sound = _play(part, Path(folder))
        sound = np.pad(sound, (0, max(len(part) * slot - sound.size, 0)))
        for index in range(len(part)):
            yield sound[index * slot : (index + 1) * slot]
