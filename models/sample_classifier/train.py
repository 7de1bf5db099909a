"""Render, train, evaluate, and write the files that are committed.

    python models/sample_classifier/train.py

Writes `sample_classifier.h5`, `held_out.npz`, `training_log.csv` and `wavs/` beside itself. Needs TensorFlow and the
Debian packages fluidsynth and fluid-soundfont-gm. Exit code 0 when the held-out accuracy is 90 % or more, 1 when it is
lower, 2 when the packages are missing or a recording is on both sides of the split.
"""

import csv
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import evaluate
import numpy as np
from families import FAMILIES
from held_out import save
from log_mel import FRAMES, MELS, from_onset, levels, picture
from notes import Note, plan
from numpy.typing import NDArray
from recordings import SoundFont
from render import SOUNDFONT, MissingSynthesiserError, render, require_synthesiser
from sound_files import SAMPLE_RATE, write_wav
from synth_drums import DRUM_SOUNDS
from synth_tones import TONES

import demo

__all__ = ["SharedRecordingError", "main"]

FOLDER = Path(__file__).parent
SYNTHESISED_A_FAMILY = 360
SYNTHESIS_SEED = 11
LONGEST_WAV = round(0.9 * SAMPLE_RATE)
AUDIBLE = 0.001  # of the peak: -60 dB
FADE = SAMPLE_RATE // 100


class SharedRecordingError(RuntimeError):
    """A recording of the soundfont is heard on both sides of the split."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"expected no recording on both sides of the split, found {count}; "
            "use the FluidR3_GM.sf2 of Debian's fluid-soundfont-gm, or change the presets in notes.py"
        )


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)


def _refuse_shared_recordings(trained: Iterable[Note], held_out: Iterable[Note]) -> None:
    soundfont = SoundFont(SOUNDFONT)
    shared = soundfont.recordings(trained) & soundfont.recordings(held_out)
    if shared:
        raise SharedRecordingError(len(shared))


def _families(notes: list[Note]) -> NDArray[np.uint8]:
    return np.array([FAMILIES.index(note.family) for note in notes], dtype=np.uint8)


def _measure(notes: list[Note]) -> NDArray[np.uint8]:
    """Render notes to levels, uint8 [count, 128, 128]."""
    measured = np.empty((len(notes), MELS, FRAMES), dtype=np.uint8)
    for index, sound in enumerate(render(notes)):
        measured[index] = levels(sound)
        if (index + 1) % 100 == 0:
            _progress(f"rendered {index + 1} of {len(notes)}")
    return measured


def _synthesise() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Synthesise sounds of every family: levels, uint8 [count, 128, 128], and family indices, uint8 [count]."""
    makers = DRUM_SOUNDS | TONES
    random = np.random.default_rng(SYNTHESIS_SEED)
    measured = np.empty((len(FAMILIES), SYNTHESISED_A_FAMILY, MELS, FRAMES), dtype=np.uint8)
    for index, family in enumerate(FAMILIES):
        for take in range(SYNTHESISED_A_FAMILY):
            measured[index, take] = levels(makers[family](random))
        _progress(f"synthesised {SYNTHESISED_A_FAMILY} of {family}")
    families = np.repeat(np.arange(len(FAMILIES), dtype=np.uint8), SYNTHESISED_A_FAMILY)
    return measured.reshape(-1, MELS, FRAMES), families


def _train(notes: list[Note]) -> None:
    """Fit the network and write its weights and its log."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    from fit import EPOCHS, fit

    rows: list[tuple[int, int, float, float]] = []
    synthesised, their_families = _synthesise()
    pictures = np.concatenate([_measure(notes), synthesised])
    families = np.concatenate([_families(notes), their_families])
    started = time.monotonic()

    def note_down(epoch: int, logs: dict[str, float]) -> None:
        seconds, loss, accuracy = round(time.monotonic() - started), round(logs["loss"], 4), round(logs["accuracy"], 4)
        rows.append((epoch + 1, seconds, loss, accuracy))
        _progress(f"epoch {epoch + 1} of {EPOCHS}: {seconds} s, loss {loss}, accuracy on varied pictures {accuracy}")

    network = fit(pictures, families, [keras.callbacks.LambdaCallback(on_epoch_end=note_down)])
    network.save(evaluate.WEIGHTS, include_optimizer=False)
    with (FOLDER / "training_log.csv").open("w", newline="") as log:
        csv.writer(log, lineterminator="\n").writerows([("epoch", "seconds", "loss", "accuracy"), *rows])


def _one_shot(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut a rendered sound from its onset to its last audible sample, 0.9 s at most, and fade its end."""
    cut = from_onset(sound)[:LONGEST_WAV]
    audible = np.flatnonzero(np.abs(cut) >= AUDIBLE * np.abs(cut).max())
    cut = cut[: int(audible[-1]) + 1].copy()
    fade = min(FADE, cut.size)
    cut[-fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return cut


def _write_wavs(notes: list[Note], probabilities: NDArray[np.float32]) -> None:
    """Write the held-out note of each family that the network is surest of, and check the answers to the files.

    They show a twin and its original at work; how good the network is, the whole held-out set says.
    """
    own = probabilities[np.arange(len(notes)), _families(notes)]
    order = [notes[index] for index in np.argsort(-own, kind="stable")]
    chosen = [next(note for note in order if note.family == family) for family in FAMILIES]
    (FOLDER / "wavs").mkdir(exist_ok=True)
    for note, sound in zip(chosen, render(chosen), strict=True):
        write_wav(FOLDER / "wavs" / f"{note.family}.wav", _one_shot(sound))
    demo.check({"family": evaluate.predict(demo.inputs()["spectrogram"])})


def main() -> int:
    """Do all of it; give the exit code."""
    trained, held_out = plan("train"), plan("held_out")
    try:
        require_synthesiser()
        _refuse_shared_recordings(trained, held_out)
    except (MissingSynthesiserError, SharedRecordingError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    _train(trained)
    measured = _measure(held_out)
    save(measured, _families(held_out))
    _write_wavs(held_out, evaluate.predict(picture(measured)))
    return evaluate.main()


if __name__ == "__main__":
    sys.exit(main())
