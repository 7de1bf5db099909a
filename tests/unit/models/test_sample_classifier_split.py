"""What sample_classifier trains on and what it is judged on never meet."""

import importlib.util
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[3] / "models" / "sample_classifier"
Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)

    def load_by_path(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"sample_classifier_{name}", FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module

    yield load_by_path
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == FOLDER:
            del sys.modules[name]


def test_no_velocity_is_on_both_sides(load: Load) -> None:
    plan = load("notes").plan
    assert not {note.velocity for note in plan("train")} & {note.velocity for note in plan("held_out")}


def test_no_preset_or_drum_key_is_on_both_sides(load: Load) -> None:
    notes = load("notes")

    def voices(side: str) -> set[tuple[int, ...]]:
        return {
            (note.bank, note.program, note.key) if note.bank == notes.DRUM_BANK else (note.bank, note.program)
            for note in notes.plan(side)
        }

    assert not voices("train") & voices("held_out")


def test_no_key_or_tuning_of_a_family_is_on_both_sides(load: Load) -> None:
    notes = load("notes")

    def pitches(side: str) -> set[tuple[str, int]]:
        return {(note.family, note.cents if note.bank == notes.DRUM_BANK else note.key) for note in notes.plan(side)}

    assert not pitches("train") & pitches("held_out")


def test_every_family_is_on_both_sides_without_repeats(load: Load) -> None:
    plan, families = load("notes").plan, load("families").FAMILIES
    for side, fewest in (("train", 150), ("held_out", 40)):
        notes = plan(side)
        counts = Counter(note.family for note in notes)
        assert tuple(counts) == families
        assert min(counts.values()) >= fewest
        assert len(set(notes)) == len(notes)


def test_the_plan_is_the_same_each_time(load: Load) -> None:
    plan = load("notes").plan
    assert plan("train") == plan("train")


def test_the_committed_set_holds_the_planned_families(load: Load) -> None:
    levels, families = load("held_out").load()
    planned = [load("families").FAMILIES.index(note.family) for note in load("notes").plan("held_out")]
    assert families.tolist() == planned
    assert levels.shape == (len(planned), 128, 128)
    assert levels.dtype == np.uint8


def test_accuracy_is_measured_on_the_whole_committed_set(load: Load) -> None:
    held_out = load("held_out")
    data = held_out.labelled()
    levels, families = held_out.load()
    assert data["spectrogram"].shape == (504, 128, 128, 3)
    assert data["spectrogram"].dtype == np.float32
    np.testing.assert_array_equal(np.rint(data["spectrogram"][..., 0] * 255).astype(np.uint8), levels)
    assert data["labels"].dtype == np.int64
    assert data["labels"].tolist() == families.tolist()


def test_samples_are_synthesised_by_seed_the_families_in_turn(load: Load) -> None:
    make = load("samples").make
    batch = make(6, seed=3)
    assert list(batch) == ["spectrogram"]
    assert batch["spectrogram"].shape == (6, 128, 128, 3)
    assert batch["spectrogram"].dtype == np.float32
    np.testing.assert_array_equal(batch["spectrogram"], make(6, seed=3)["spectrogram"])
    np.testing.assert_array_equal(batch["spectrogram"][:5], make(5, seed=3)["spectrogram"])
    assert not np.array_equal(batch["spectrogram"], make(6, seed=4)["spectrogram"])


def test_what_calibrates_is_neither_held_out_nor_trained_on(load: Load) -> None:
    """By the pictures themselves: none of 24 samples is near a held-out one, none is the first that training has."""
    made = load("samples").make(24, seed=0)["spectrogram"][..., 0] * 255
    held_out = load("held_out").load()[0].astype(np.float32)
    nearest = min(float(np.abs(held_out - sample).mean(axis=(1, 2)).min()) for sample in made)
    assert nearest > 2  # of 255 steps, on average over the picture
    drums, log_mel = load("synth_drums").DRUM_SOUNDS, load("log_mel")
    first = log_mel.levels(drums["kick"](np.random.default_rng(load("train").SYNTHESIS_SEED)))
    again = load("samples").make(1, seed=load("train").SYNTHESIS_SEED)["spectrogram"][0, ..., 0] * 255
    assert np.abs(again - first).max() > 2


def test_samples_need_neither_the_held_out_set_nor_a_soundfont(load: Load) -> None:
    load("samples").make(1, seed=0)
    assert not {"held_out", "render", "recordings"} & sys.modules.keys()


def test_a_wrong_answer_fails_the_demo_by_name(load: Load) -> None:
    demo = load("demo")
    right = np.eye(12, dtype=np.float32)
    demo.check({"family": right})
    assert len(demo.show({"family": right})) == 12
    wrong = right.copy()
    wrong[0] = right[4]
    with pytest.raises(ValueError, match=r"kick\.wav: expected the family kick, found tom"):
        demo.check({"family": wrong})


def test_the_demo_sends_one_picture_a_wav(load: Load) -> None:
    sounds = load("demo").inputs()["spectrogram"]
    assert sounds.shape == (12, 128, 128, 3)
    assert sounds.dtype == np.float32


def test_the_score_is_wilsons_interval_and_a_table_by_family(load: Load) -> None:
    evaluate = load("evaluate")
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 gives 0.2553 to 0.3662.
    assert evaluate.interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    table = evaluate.confusion(np.array([0, 0, 3]), np.array([0, 4, 3]))
    assert table[0, 0] == table[0, 4] == table[3, 3] == 1
    assert evaluate.report(table)[-1].startswith("held-out accuracy 66.7% (2 of 3;")


def test_a_score_file_is_rendered_as_midi(load: Load) -> None:
    render, note = load("render"), load("notes").Note("tom", 128, 16, 45, 76, -350, 0.5)
    data = render.midi_file([note, note])
    assert data[:14] == b"MThd\0\0\0\6\0\0\0\1\1\xe0"
    assert int.from_bytes(data[18:22], "big") == len(data) - 22
    assert data.count(bytes([0x99, 45, 76])) == 2
    assert data.endswith(b"\xff\x2f\x00")


def test_a_missing_synthesiser_names_the_packages(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    render = load("render")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(render.MissingSynthesiserError, match=r"apt-get install .* fluidsynth fluid-soundfont-gm"):
        render.require_synthesiser()


def test_a_file_that_is_no_soundfont_is_refused(load: Load, tmp_path: Path) -> None:
    (tmp_path / "noise.sf2").write_bytes(b"RIFF----")
    with pytest.raises(ValueError, match=r"noise\.sf2: expected a SoundFont 2 file"):
        load("recordings").SoundFont(tmp_path / "noise.sf2")
