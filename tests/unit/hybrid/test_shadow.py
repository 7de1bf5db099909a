"""The twins compared beside the callers' way: a real thread, twins that do as they are told."""

import os
import threading
import time

import numpy as np
import pytest

from conversion.release.golden import read_golden
from python_backend.hybrid.batch import Answer
from python_backend.hybrid.errors import FolderShared
from python_backend.hybrid.exhibits import Exhibits, default_folder
from python_backend.hybrid.settings import ShadowSettings, Tolerance
from python_backend.hybrid.shadow import Differing, Shadow
from python_backend.hybrid.tally import Tally

from .conftest import batch_of, refuses

ALL = ShadowSettings(share=1.0, max_differing=0.1, quarantine=True, keep=8, folder="")


class Watched:
    """A shadow of both twins, what it told, and its counts."""

    def __init__(self, twins, settings=ALL, dice=lambda: 0.5, clock=time.monotonic):
        self.twins = twins
        self.idle = True
        self.differing, self.distrust = [], []
        self._tally = Tally()
        self.results = {"agreed": 0, "differed": 0, "failed": 0, "dropped": 0}
        self.shadow = Shadow(
            settings,
            Tolerance(0.1, 0.0, 0.0),
            twins,
            idle=lambda: self.idle,
            tally=self._tally,
            differed=self.differing.append,
            distrusted=self.distrust.append,
            dice=dice,
            clock=clock,
        )
        self.shadow.start()

    def answer(self, *values, served_by="onnx"):
        """A request that a twin has answered rightly, considered."""
        batch = batch_of(*values)
        answer = Answer({"y": batch.inputs()["x"] * 2}, served_by)
        self.shadow.consider(batch, answer)
        return batch, answer

    def counts(self, count, timeout_s=5.0):
        """The counts of the results, when there are as many."""
        end = time.monotonic() + timeout_s
        while sum(self.results.values()) < count:
            assert time.monotonic() < end, self.results
            for (_, result), amount in self._tally.drain().items():
                self.results[result] += amount
            time.sleep(0.002)
        return {result: amount for result, amount in self.results.items() if amount}

    def one_by_one(self, values):
        for value in values:
            before = sum(self.results.values())
            self.answer(value)
            self.counts(before + 1)


def off(batch, outputs):
    return {"y": outputs["y"] + np.float32(0.2)}


def off_at_minus_one(batch, outputs):
    return off(batch, outputs) if batch.inputs()["x"][0, 0] == -1 else outputs


@pytest.fixture
def watched(twins):
    made = Watched(twins)
    yield made
    made.shadow.stop()


def test_the_other_twin_is_asked_for_the_same_rows_and_agrees(watched):
    watched.answer(1, 2)
    assert watched.counts(1) == {"agreed": 1}
    assert watched.twins.calls == [("original", [1, 2])]
    assert watched.shadow.worst == {"y": 0.0}
    assert watched.differing == []


def test_where_the_original_answered_the_onnx_twin_is_compared_with_it(watched):
    watched.twins.faults["onnx"] = off
    watched.answer(1, served_by="original")
    assert watched.counts(1) == {"differed": 1}
    (found,) = watched.differing
    assert found.onnx["y"][0, 0] == pytest.approx(2.2)
    assert found.original["y"][0, 0] == 2
    assert found.cause == "output 'y': 2 of 2 values differ by more than 0.1 + 0·|original| (worst 0.2)"
    assert watched.shadow.worst["y"] == pytest.approx(2.0, rel=1e-4)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (lambda batch, outputs: {"y": np.array([[b"dog"]], object)}, "the strings differ"),
        (lambda batch, outputs: {"y": np.array([[b"cat", b"cat"]], object)}, "is object"),
        (lambda batch, outputs: outputs, "not float32"),
        (lambda batch, outputs: {}, "is missing"),
    ],
    ids=["strings", "shape", "dtype", "missing"],
)
def test_where_the_twins_differ_by_no_number_the_largest_difference_has_no_end(watched, fault, cause):
    watched.twins.faults["original"] = fault
    watched.shadow.consider(batch_of(1), Answer({"y": np.array([[b"cat"]], object)}, "onnx"))
    assert watched.counts(1) == {"differed": 1}
    assert cause in watched.differing[0].cause
    assert watched.shadow.worst == {"y": np.inf}


def test_what_other_callers_of_the_call_asked_for_is_no_part_of_the_sample(watched):
    watched.twins.faults["original"] = off
    batch = batch_of(1)
    watched.shadow.consider(batch, Answer({"y": batch.inputs()["x"] * 2, "z": batch.inputs()["x"]}, "onnx"))
    assert watched.counts(1) == {"differed": 1}
    (found,) = watched.differing
    assert set(found.onnx) == {"y"}


def test_only_a_share_is_sampled(twins):
    rolls = iter([0.009, 0.011, 0.5, 0.0])
    watched = Watched(twins, ShadowSettings(0.01, 0.1, True, 8, ""), dice=lambda: next(rolls), clock=lambda: 0.0)
    watched.one_by_one([0])
    watched.answer(1)
    watched.answer(2)
    watched.one_by_one([3])
    assert [rows for _, rows in twins.calls] == [[0], [3]]
    watched.shadow.stop()


def test_a_share_of_the_answers_takes_no_more_than_that_share_of_the_time(twins):
    now = [100.0]

    def takes_a_second(batch, outputs):
        now[0] += 1.0
        return outputs

    twins.faults["original"] = takes_a_second
    watched = Watched(twins, ShadowSettings(0.25, 0.1, True, 8, ""), dice=lambda: 0.0, clock=lambda: now[0])
    watched.one_by_one([1])
    for waited, counts in ((2.9, {"agreed": 1, "dropped": 1}), (0.2, {"agreed": 2, "dropped": 1})):
        now[0] += waited
        watched.answer(2)
        assert watched.counts(sum(counts.values())) == counts
    watched.shadow.stop()


def test_what_both_twins_answered_together_is_no_sample(watched):
    batch = batch_of(1, 2)
    mixed = Answer({"y": batch.inputs()["x"] * 2}, np.array(["onnx", "original"], object))
    watched.shadow.consider(batch, mixed)
    watched.one_by_one([5])
    assert watched.twins.calls == [("original", [5])]


def test_a_sample_is_a_copy(watched):
    asked = threading.Event()

    def slow(batch, outputs):
        asked.wait(5)
        return outputs

    watched.twins.faults["original"] = slow
    watched.answer(1)
    batch, answer = watched.answer(2)
    batch.inputs()["x"][:] = 99
    answer.outputs["y"][:] = 99
    asked.set()
    assert watched.counts(2) == {"agreed": 2}
    assert watched.twins.calls == [("original", [1]), ("original", [2])]


def test_callers_never_wait_and_what_there_is_no_time_for_is_counted(watched):
    go, returned = threading.Event(), []

    def hangs(batch, outputs):
        go.wait(20)
        returned.append(batch)
        return outputs

    watched.twins.faults["original"] = hangs
    for value in range(50):
        watched.answer(value)
    assert returned == []
    go.set()
    counts = watched.counts(50)
    assert counts["dropped"] >= 47
    assert counts["agreed"] == 50 - counts["dropped"]


def test_nothing_is_compared_while_requests_fall_back(watched):
    watched.idle = False
    watched.answer(1)
    assert watched.counts(1) == {"dropped": 1}
    assert watched.twins.calls == []


def test_a_twin_that_cannot_answer_is_no_difference(watched):
    watched.twins.faults["original"] = refuses
    watched.answer(1)
    assert watched.counts(1) == {"failed": 1}
    assert watched.differing == []


def test_a_sample_that_nobody_foresaw_is_not_the_last(watched):
    watched.twins.faults["original"] = lambda batch, outputs: 1 / 0
    watched.answer(1)
    assert watched.counts(1) == {"failed": 1}
    watched.twins.faults.clear()
    watched.answer(2)
    assert watched.counts(2) == {"failed": 1, "agreed": 1}


@pytest.mark.parametrize("outputs", [{}, {"y": np.zeros((1, 2))}, {"y": np.zeros((1, 3), np.float32)}])
def test_an_answer_of_another_form_differs(watched, outputs):
    watched.twins.faults["original"] = lambda batch, _: outputs
    watched.answer(1)
    assert watched.counts(1) == {"differed": 1}


def test_too_many_differences_are_a_reason_for_distrust_and_a_few_are_not(watched):
    watched.twins.faults["original"] = off_at_minus_one
    watched.one_by_one([-1, -1, *range(18)])
    assert watched.distrust == [], "two of twenty are a tenth, not more"
    watched.one_by_one([-1])
    assert watched.distrust == ["3 of its last 21 sampled answers are not the original's"]


def test_a_few_samples_say_nothing(watched):
    watched.twins.faults["original"] = off
    watched.one_by_one(range(19))
    assert (len(watched.differing), watched.distrust) == (19, [])


def test_the_newest_differing_requests_are_kept_as_conversion_reads_them(tmp_path):
    exhibits = Exhibits(tmp_path / "kept", keep=2)
    for value in range(3):
        text = np.array([[b"a", b"longer"]], object)
        x = np.full((1, 2), value, np.float32)
        path = exhibits.save(Differing({"x": x, "text": text}, {"y": x}, {"y": x + 1}, "cause"))
    assert path == tmp_path / "kept" / "differing-0.npz"
    assert sorted(each.name for each in path.parent.iterdir()) == ["differing-0.npz", "differing-1.npz"]
    case = read_golden(path)
    assert case.inputs["x"].tolist() == [[2, 2]]
    assert case.inputs["text"].tolist() == [[b"a", b"longer"]]
    assert case.expected["y"].tolist() == [[3, 3]]
    assert path.parent.stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o077 == 0


def keep_one(folder):
    x = np.zeros((1, 2), np.float32)
    return Exhibits(folder, keep=1).save(Differing({"x": x}, {"y": x}, {"y": x}, "cause"))


def test_no_folder_is_used_that_others_may_write_in_or_that_is_somewhere_else(tmp_path):
    shared, elsewhere = tmp_path / "shared", tmp_path / "elsewhere"
    for folder in (shared, elsewhere):
        folder.mkdir()
    shared.chmod(0o777)
    (tmp_path / "link").symlink_to(elsewhere)
    for folder in (shared, tmp_path / "link"):
        with pytest.raises(FolderShared, match=f"{folder} must be a folder, and no link, of the user"):
            keep_one(folder)
    assert [*shared.iterdir(), *elsewhere.iterdir()] == []


def test_no_folder_is_used_that_belongs_to_somebody_else(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert default_folder("net").name == f"understudy-{tmp_path.stat().st_uid + 1}-net"
    with pytest.raises(FolderShared):
        keep_one(tmp_path / "kept")


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("as it was")
    (tmp_path / "kept").mkdir()
    for name in ("differing-0.npz", f"differing-0.{os.getpid()}.new"):
        (tmp_path / "kept" / name).symlink_to(precious)
    assert not keep_one(tmp_path / "kept").is_symlink()
    assert precious.read_text() == "as it was"


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "kept" / "differing-0.npz").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        keep_one(tmp_path / "kept")
    assert [each.name for each in (tmp_path / "kept").iterdir()] == ["differing-0.npz"]


def test_two_processes_keep_theirs_side_by_side_and_what_a_killed_one_left_goes(tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    for name, age_s in (("differing-0.7.new", 3600), ("differing-0.8.new", 1)):
        (folder / name).touch()
        os.utime(folder / name, (time.time() - age_s,) * 2)
    x = np.zeros((1, 2), np.float32)
    for exhibits in (Exhibits(folder, keep=4), Exhibits(folder, keep=4)):
        for _ in range(2):
            exhibits.save(Differing({"x": x}, {"y": x}, {"y": x}, "cause"))
    kept = [f"differing-{number}.npz" for number in range(4)]
    assert sorted(each.name for each in folder.iterdir()) == ["differing-0.8.new", *kept]


def test_strings_are_kept_whole_and_too_many_are_not_even_looked_at(tmp_path, monkeypatch):
    text = np.array([b"a\0", b"a"], object)
    path = Exhibits(tmp_path / "kept", keep=1).save(Differing({"text": text}, {"y": text}, {"y": text[::-1]}, "cause"))
    assert read_golden(path).expected["y"].tolist() == [b"a", b"a\0"]
    monkeypatch.setattr("python_backend.hybrid.exhibits.packed", None)
    long = np.array([b"x" * 1_000_000] * 70, object)
    assert Exhibits(tmp_path / "kept", keep=1).save(Differing({"text": long}, {}, {}, "cause")) is None


def test_nothing_is_kept_where_nothing_should_be(tmp_path):
    x = np.zeros((1, 2), np.float32)
    assert Exhibits(tmp_path / "kept", keep=0).save(Differing({"x": x}, {"y": x}, {"y": x}, "cause")) is None
    assert not (tmp_path / "kept").exists()
