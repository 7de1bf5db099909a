"""Batching is for models that treat each row alone: each way to mix them is refused, wherever in the batch it shows."""

from dataclasses import replace

import numpy as np
import pytest

from conversion.errors import RowsMixed
from conversion.proof.stress import stress_cases
from conversion.spec import ParitySpec

from ..classifier import classifier

MIXES = {
    "all": lambda y: y - y.mean(axis=0),
    "those before, as a net over time does": lambda y: np.cumsum(y, axis=0, dtype=y.dtype),
    "those after": lambda y: np.cumsum(y[::-1], axis=0, dtype=y.dtype)[::-1],
    "the first": lambda y: y - y[:1] * (np.arange(len(y)) > 0).astype(y.dtype)[:, None],
    "the last": lambda y: y + y[-1:] * (np.arange(len(y)) < len(y) - 1).astype(y.dtype)[:, None],
}


@pytest.fixture(params=MIXES)
def mixing(subject, request):
    """A subject whose rows are mixed after the net."""
    mix = MIXES[request.param]
    return subject(classifier(), lambda _, answer: {name: mix(value) for name, value in answer.items()})


def test_rows_that_are_mixed_are_refused(mixing):
    with pytest.raises(RowsMixed, match=r"changes in row [0-9]+ with the other rows"):
        mixing.cases()


def test_so_they_are_where_parity_is_wanted_at_one_row_only(mixing):
    alone = replace(mixing, spec=replace(mixing.spec, parity=ParitySpec(batch_sizes=(1,))))
    with pytest.raises(RowsMixed):
        alone.cases()


def test_under_stress_they_prove_nothing(mixing):
    cases, unfit = stress_cases(mixing)
    assert "noise" not in [case.stress for case in cases]
    assert "changes with the batch there" in next(one.reason for one in unfit if one.stress == "noise")


def test_rows_that_are_not_are_taken_at_one_row_as_well(subject):
    made = subject(classifier(), parity=ParitySpec(batch_sizes=(1,)))
    assert [case.rows for case in made.cases()] == [1]


def test_rounding_that_depends_on_the_batch_is_no_mixing_whatever_the_twin_is_held_to(subject):
    def rounds(arrays, answer):
        return {name: value * np.float32(1 + 1e-6 * (len(value) > 1)) for name, value in answer.items()}

    made = subject(classifier(), rounds, parity=ParitySpec(atol=0.0, rtol=0.0))
    assert len(made.cases()) > 1
