"""The picture that sample_classifier's network sees."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[3] / "models" / "sample_classifier"


@pytest.fixture
def log_mel(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(FOLDER))
    import log_mel

    yield log_mel
    for name in ("log_mel", "sound_files"):
        sys.modules.pop(name, None)


@pytest.fixture
def sound_files(log_mel: ModuleType) -> ModuleType:
    return sys.modules["sound_files"]


def tone(hertz: float, seconds: float = 1.0, rate: int = 44_100) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


def test_picture_has_the_shape_dtype_and_range_of_the_input(log_mel: ModuleType) -> None:
    noise = np.random.default_rng(1).normal(size=20_000).astype(np.float32)
    picture = log_mel.picture(log_mel.levels(noise))
    assert picture.shape == (128, 128, 3)
    assert picture.dtype == np.float32
    assert picture[..., 0].min() >= 0
    assert picture[..., 0].max() == 1
    assert np.abs(picture[..., 1:]).max() <= 1


def test_the_same_sound_gives_the_same_picture_at_any_volume(log_mel: ModuleType) -> None:
    sound = tone(300) * np.exp(-3 * np.arange(44_100) / 44_100).astype(np.float32)
    np.testing.assert_array_equal(log_mel.levels(sound), log_mel.levels(sound))
    quiet = log_mel.levels(sound / 8).astype(int)
    assert np.abs(quiet - log_mel.levels(sound)).max() <= 1


@pytest.mark.parametrize("hertz", [55.0, 220.0, 440.0, 1000.0, 4000.0, 15000.0])
def test_a_tone_peaks_in_the_band_whose_centre_is_nearest(log_mel: ModuleType, hertz: float) -> None:
    steady = log_mel.levels(tone(hertz))[:, 10:60].astype(float).mean(axis=1)
    centres = log_mel.mel_centres()
    assert abs(int(steady.argmax()) - int(np.abs(centres - hertz).argmin())) <= 1


def test_mel_centres_follow_the_formula(log_mel: ModuleType) -> None:
    mels = 2595 * np.log10(1 + log_mel.mel_centres() / 700)
    np.testing.assert_allclose(np.diff(mels), np.diff(mels)[0], rtol=1e-6)


def test_silence_before_the_onset_does_not_move_the_picture(log_mel: ModuleType) -> None:
    click = tone(500, 0.3)
    click[0] = 0.5
    late = np.concatenate([np.zeros(5_000, dtype=np.float32), click])
    later = np.concatenate([np.zeros(9_000, dtype=np.float32), click])
    np.testing.assert_array_equal(log_mel.levels(late), log_mel.levels(later))
    assert log_mel.levels(late)[:, 60:].max() == 0


def test_slopes_are_central_differences(log_mel: ModuleType) -> None:
    ramp = np.tile(np.arange(128, dtype=np.uint8), (128, 1))
    picture = log_mel.picture(ramp)
    np.testing.assert_allclose(picture[:, 1:-1, 1], 2 / 255, rtol=1e-5)
    assert not picture[..., 2].any()
    flipped = log_mel.picture(ramp.T)
    np.testing.assert_array_equal(flipped[..., 2], picture[..., 1].T)


def test_a_batch_of_levels_gives_the_pictures_of_its_rows(log_mel: ModuleType) -> None:
    levels = np.random.default_rng(2).integers(0, 256, (3, 128, 128), dtype=np.uint8)
    np.testing.assert_array_equal(log_mel.picture(levels)[1], log_mel.picture(levels[1]))


def test_silence_is_black(log_mel: ModuleType) -> None:
    assert not log_mel.levels(np.zeros(1000, dtype=np.float32)).any()


@pytest.mark.parametrize("signal", [np.zeros(0), np.zeros((4, 2)), np.array([0.0, np.nan])])
def test_a_signal_that_is_no_sound_is_refused(log_mel: ModuleType, signal: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected a finite signal of shape"):
        log_mel.levels(signal.astype(np.float32))


def test_a_wav_comes_back_as_it_was_written(sound_files: ModuleType, tmp_path: Path) -> None:
    sound = tone(440, 0.1)
    sound_files.write_wav(tmp_path / "tone.wav", sound)
    np.testing.assert_allclose(sound_files.read_wav(tmp_path / "tone.wav") / 0.7, sound, atol=2e-4)


def test_another_sample_rate_is_refused_by_name(sound_files: ModuleType, tmp_path: Path) -> None:
    import wave

    with wave.open(str(tmp_path / "slow.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8_000)
        sound.writeframes(b"\0\0" * 10)
    with pytest.raises(ValueError, match=r"slow\.wav: expected 16-bit samples at 44100 Hz, found 16-bit at 8000"):
        sound_files.read_wav(tmp_path / "slow.wav")
