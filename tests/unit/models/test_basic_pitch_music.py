"""The rendered pieces whose notes basic_pitch's accuracy is measured against."""

from itertools import combinations
from types import ModuleType

import numpy as np
import pytest

FEW = 24


@pytest.fixture
def music(load_from, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load_from("basic_pitch", "music")
    assert module.WINDOWS == 400
    monkeypatch.setattr(module, "WINDOWS", FEW)
    return module


@pytest.fixture
def pieces(music: ModuleType) -> list[list]:
    random = np.random.default_rng(5)
    return [music.write(random, number) for number in range(300)]


def test_windows_and_notes_are_always_the_same(music: ModuleType) -> None:
    data, again = music.labelled(), music.labelled()
    assert data["input_2"].shape == (FEW, 43_844, 1)
    assert data["input_2"].dtype == np.float32
    assert data["labels"].shape[0::2] == (FEW, 3)
    for name in data:
        np.testing.assert_array_equal(data[name], again[name])


def test_every_window_has_notes_within_it_and_nan_fills_up(music: ModuleType) -> None:
    labels = music.labelled()["labels"]
    known = ~np.isnan(labels)
    assert (known.all(axis=2) == known.any(axis=2)).all()
    assert (known[:, 0, 0]).all()
    pitch, onset, offset = np.moveaxis(labels[known.all(axis=2)], 1, 0)
    assert (pitch >= 40).all()
    assert (pitch <= 83).all()
    assert (onset >= 0.1).all()
    assert (offset - onset >= 0.17).all()
    assert (offset < 1.95).all()


def test_notes_of_one_pitch_never_meet(pieces: list[list]) -> None:
    for notes in pieces:
        for one, other in combinations(notes, 2):
            if one.pitch == other.pitch:
                first, second = sorted((one, other), key=lambda note: note.onset)
                assert second.onset - first.offset > 0.05


def test_there_are_chords_and_melodies_of_different_lengths_and_velocities(pieces: list[list]) -> None:
    chords, melodies = pieces[::3], pieces[1::3]
    assert all(len({note.onset for note in notes}) < len(notes) for notes in chords)
    assert all(len({note.onset for note in notes}) == len(notes) for notes in melodies)
    assert np.mean([len(notes) for notes in melodies]) > 3
    lengths = [note.offset - note.onset for notes in pieces for note in notes]
    assert np.quantile(lengths, 0.9) > 2 * np.quantile(lengths, 0.1)
    velocities = [note.velocity for notes in pieces for note in notes]
    assert np.quantile(velocities, 0.9) > 1.5 * np.quantile(velocities, 0.1)


@pytest.mark.parametrize("instrument", range(4))
def test_a_note_sounds_at_its_pitch_from_its_onset_to_its_offset(
    music: ModuleType, instrument: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(music, "INSTRUMENTS", music.INSTRUMENTS[instrument : instrument + 1])
    sound = music.play(np.random.default_rng(0), [music.Note(69, 0.5, 1.0, 0.8)])[:, 0]
    start, end = round(0.5 * 22_050), round(1.04 * 22_050)
    loudness = np.abs(sound).max()
    assert 0.1 <= loudness <= 0.91
    assert np.abs(np.r_[sound[:start], sound[end + 1 :]]).max() < 0.01 * loudness
    assert np.abs(sound[start : start + 1_000]).max() > 0.2 * loudness
    spectrum = np.abs(np.fft.rfft(sound[start:end] * np.hanning(end - start)))
    peak = np.fft.rfftfreq(end - start, 1 / 22_050)[spectrum.argmax()]
    assert abs(peak / 440 - max(round(peak / 440), 1)) < 0.008


def test_the_louder_note_is_the_one_of_higher_velocity(music: ModuleType) -> None:
    sound = music.play(np.random.default_rng(1), [music.Note(60, 0.2, 0.6, 0.9), music.Note(60, 1.0, 1.4, 0.3)])
    first, second = (np.abs(sound[at : at + 8_000]).max() for at in (4_410, 22_050))
    assert first == pytest.approx(3 * second, rel=0.05)


def test_no_window_is_a_sample_of_parity(music: ModuleType, load_from) -> None:
    windows = {window.tobytes() for window in music.labelled()["input_2"]}
    samples = load_from("basic_pitch", "chords").make(FEW, 0)["input_2"]
    assert len(windows) == FEW
    assert not windows & {sample.tobytes() for sample in samples}
