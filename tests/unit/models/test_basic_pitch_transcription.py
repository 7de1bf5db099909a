"""From basic_pitch's activations to notes, and from notes to F1."""

from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FRAMES = 172
SECONDS = 256 / 22_050


@pytest.fixture
def transcription(load_from) -> ModuleType:
    return load_from("basic_pitch", "transcription")


def activations(*notes: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """What a perfect model answers to notes of (MIDI number, first frame, frame after the last), one window."""
    note, onset = (np.zeros((1, FRAMES, 88), np.float32) for _ in range(2))
    for pitch, first, end in notes:
        note[0, first:end, pitch - 21] = 0.9
        onset[0, first, pitch - 21] = 0.9
    return {"note": note, "onset": onset}


def labels(*notes: tuple[int, float, float]) -> np.ndarray:
    """The notes in frames as labels in seconds, with a row of NaN: float64 [1, notes + 1, 3]."""
    rows = [(pitch, first * SECONDS, end * SECONDS) for pitch, first, end in notes]
    return np.array([[*rows, (np.nan,) * 3]])


def heard(transcription: ModuleType, answer: dict[str, np.ndarray]) -> list[tuple[int, int, int]]:
    found = transcription.notes_of(answer["note"][0], answer["onset"][0])
    return [(int(pitch), round(first / SECONDS), round(end / SECONDS)) for pitch, first, end in found]


C, E, G = (60, 20, 60), (64, 20, 60), (67, 80, 120)


@pytest.mark.parametrize(
    ("played", "answered", "f1"),
    [
        ((C, E, G), (C, E, G), 1.0),
        ((C, E), (), 0.0),
        ((C, E), (C, (65, 20, 60)), 0.5),
        ((C, E), (C,), 2 / 3),
        ((C,), (C, E), 2 / 3),
        ((), (C,), 0.0),
        ((), (), 1.0),
        ((C,), ((60, 20, 100),), 1.0),  # offsets do not count
        ((C,), ((60, 23, 60),), 1.0),  # 35 ms late
        ((C,), ((60, 26, 60),), 0.0),  # 70 ms late
    ],
)
def test_f1_of_known_answers(transcription: ModuleType, played: tuple, answered: tuple, f1: float) -> None:
    score = transcription.note_f1(activations(*answered), labels(*played))
    assert score.shape == (1,)
    assert score.dtype == np.float64
    assert score[0] == pytest.approx(f1)


def test_each_window_has_its_own_score(transcription: ModuleType) -> None:
    answer = {name: np.concatenate([activations(C)[name], activations(E)[name]]) for name in ("note", "onset")}
    assert transcription.note_f1(answer, np.concatenate([labels(C), labels(C)])).tolist() == [1, 0]


def test_noise_is_no_note(transcription: ModuleType) -> None:
    noise = np.random.default_rng(0).uniform(0, 0.29, (2, FRAMES, 88)).astype(np.float32)
    assert not len(transcription.notes_of(*noise))


def test_a_note_lasts_more_than_eleven_frames(transcription: ModuleType) -> None:
    assert heard(transcription, activations((60, 20, 31))) == []
    assert heard(transcription, activations((60, 20, 32))) == [(60, 20, 32)]


def test_a_short_silence_is_within_a_note_and_a_long_one_ends_it(transcription: ModuleType) -> None:
    for silent, end in ((10, 70), (11, 40)):
        answer = activations((60, 20, 70))
        # Soft, so that its return is no rise that would count as an onset.
        answer["note"][0, 20:70, 39] = 0.35
        answer["note"][0, 40 : 40 + silent, 39] = 0.2
        assert heard(transcription, answer)[0] == (60, 20, end)


def test_a_second_onset_starts_a_second_note(transcription: ModuleType) -> None:
    assert heard(transcription, activations((60, 20, 50), (60, 50, 90))) == [(60, 20, 50), (60, 50, 90)]


def test_the_neighbours_of_a_note_are_taken_for_part_of_it(transcription: ModuleType) -> None:
    answer = activations((60, 20, 60))
    answer["note"][0, 20:60, [38, 40]] = 0.4
    assert heard(transcription, answer) == [(60, 20, 60)]


def test_a_sudden_rise_is_an_onset_even_if_the_onsets_miss_it(transcription: ModuleType) -> None:
    answer = activations((60, 20, 90), (40, 20, 60))
    answer["note"][0, 50:54, 39] = 0.0
    assert heard(transcription, answer) == [(40, 20, 60), (60, 20, 50), (60, 54, 90)]


def test_a_note_without_an_onset_is_heard_by_its_frames(transcription: ModuleType) -> None:
    answer = activations((60, 20, 60))
    answer["onset"][:] = 0
    assert heard(transcription, answer) == [(60, 20, 60)]


def test_the_answer_is_left_as_it_was(transcription: ModuleType) -> None:
    answer = activations(C, E)
    transcription.note_f1(answer, labels(C, E))
    for name, expected in activations(C, E).items():
        np.testing.assert_array_equal(answer[name], expected)


@st.composite
def chords(draw) -> list[tuple[int, int, int]]:
    pitches = draw(st.lists(st.integers(10, 53), min_size=1, max_size=6, unique=True))
    spans = [(draw(st.integers(2, 100)), draw(st.integers(12, 60))) for _ in pitches]
    return sorted((2 * pitch + 1, first, first + length) for pitch, (first, length) in zip(pitches, spans, strict=True))


@given(notes=chords())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_perfect_answer_gives_its_notes_back(transcription: ModuleType, notes: list[tuple[int, int, int]]) -> None:
    assert heard(transcription, activations(*notes)) == notes
    assert transcription.note_f1(activations(*notes), labels(*notes))[0] == 1
