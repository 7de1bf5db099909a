"""Originals that nothing can be proved of are refused with what is wrong with them."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from conversion.errors import AnswersNotFinite, AnswersWaver
from conversion.proof.samples import batch_maker
from conversion.spec import ParitySpec, SamplesSpec
from conversion.spec.serving import ServingSpec
from python_backend.original.errors import OriginalError

from ..classifier import SIZE, classifier


def counting():
    calls = count()
    return lambda _, answer: {"scores": answer["scores"] + next(calls)}


def broken(arrays, answer):
    """NaN in the answer to every row of a batch of four, and to no other."""
    return {"scores": answer["scores"] * np.float32(np.nan if len(arrays["x"]) == 4 else 1)}


@pytest.mark.parametrize("serving", [ServingSpec(max_batch_size=16), ServingSpec(max_batch_size=0)])
def test_an_original_with_state_is_told_from_one_that_mixes_rows(subject, serving):
    made = subject(classifier(), counting(), serving=serving)
    with pytest.raises(AnswersWaver, match=r"answers the same input differently in output 'scores' \(.*\): dropout"):
        made.cases()


def test_nan_in_answers_to_samples_is_refused_with_how_often(subject):
    parity = ParitySpec(batch_sizes=(1, 4))
    with pytest.raises(AnswersNotFinite, match="output 'scores' holds NaN or infinity for 32 of 33 samples"):
        subject(classifier(), broken, parity=parity).cases()


@pytest.mark.parametrize(
    ("most", "batches"), [(1, [1] * 30), (2, [1, 2, *[2] * 14]), (7, [1, 2, 7, 7, 7, 7]), (32, [1, 2, 7, 32])]
)
def test_small_batches_are_followed_by_more_until_thirty_rows_were_seen(subject, tmp_path, most, batches):
    """Of one sample a twin may be right by luck."""
    rows = np.arange(64, dtype=np.float32)
    made = from_file(subject, rows[:, None, None, None] + np.zeros(SIZE, np.float32), most)
    cases = made.cases()
    assert [case.rows for case in cases] == batches
    assert len({row[0, 0, 0] for case in cases for row in case.inputs["x"]}) >= 24


def from_file(subject, x, most):
    made = subject(classifier(), serving=ServingSpec(max_batch_size=most), samples=SamplesSpec(file="s.npz"))
    np.savez(made.spec.folder / "s.npz", x=x)
    return replace(made, make=batch_maker(made.spec, made.inputs))


@pytest.mark.parametrize(("most", "rows", "batches"), [(1, 1, 1), (1, 4, 4), (2, 3, 4)])
def test_but_not_beyond_what_the_samples_have(subject, most, rows, batches):
    x = np.random.default_rng(0).standard_normal((rows, *SIZE)).astype(np.float32)
    assert len(from_file(subject, x, most).cases()) == batches


@pytest.mark.parametrize("limit", ["_FURTHER_S", "_FURTHER_BYTES"])
def test_nor_where_the_original_is_slow_or_the_samples_are_large(subject, monkeypatch, limit):
    monkeypatch.setattr(f"conversion.proof.subject.{limit}", 0)
    assert len(subject(classifier(), serving=ServingSpec(max_batch_size=1)).cases()) == 1


@pytest.mark.parametrize("most", [1, 0])
def test_nor_is_an_original_refused_that_does_not_take_what_nobody_asked_for(subject, most):
    """As a table of positions does not take a size that none of its callers has."""
    asked = count()

    def limited(_, answer):
        if next(asked) == 3:
            raise OriginalError("index out of range")
        return answer

    made = subject(classifier(), limited, serving=ServingSpec(max_batch_size=most))
    assert 1 <= len(made.cases()) < 30


def test_unless_the_spec_allows_it(subject):
    made = subject(classifier(), lambda _, answer: {"scores": answer["scores"] * np.float32(np.inf)})
    allowed = replace(made.spec.serving, allow_non_finite_outputs=("scores",))
    assert len(replace(made, spec=replace(made.spec, serving=allowed)).cases()) > 1
