"""Originals that nothing can be proved of are refused with what is wrong with them."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from conversion.errors import AnswersNotFinite, AnswersWaver
from conversion.spec import ParitySpec
from conversion.spec.serving import ServingSpec

from ..classifier import classifier


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
    with pytest.raises(AnswersNotFinite, match="output 'scores' holds NaN or infinity for 4 of 5 samples"):
        subject(classifier(), broken, parity=parity).cases()


def test_unless_the_spec_allows_it(subject):
    made = subject(classifier(), lambda _, answer: {"scores": answer["scores"] * np.float32(np.inf)})
    allowed = replace(made.spec.serving, allow_non_finite_outputs=("scores",))
    assert len(replace(made, spec=replace(made.spec, serving=allowed)).cases()) > 1
