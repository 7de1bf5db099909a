"""Batching is for models that treat each row alone: each way to mix them is refused, wherever in the batch it shows."""

from dataclasses import replace

import numpy as np
import pytest

from conversion.errors import ArtefactError, RowsMixed
from conversion.interface import Facts
from conversion.proof.rows_apart import rows_apart
from conversion.proof.stress import stress_cases
from conversion.spec import ParitySpec

from ..classifier import batch, classifier

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


def one_sample(rows, number):
    """Batches of a file of one row."""
    return {name: np.repeat(array, rows, axis=0) for name, array in batch(1, 0).items()}


def test_so_they_are_where_there_is_one_sample_only(mixing):
    with pytest.raises(RowsMixed):
        replace(mixing, make=one_sample).cases()


def test_rows_that_are_not_are_taken_with_one_sample_as_well(subject):
    assert [case.rows for case in replace(subject(classifier()), make=one_sample).cases()] == [1, 2, 7, 16]


def test_an_original_that_does_not_take_other_rows_is_judged_by_its_own(subject):
    def picky(arrays, answer):
        if not np.isin(arrays["x"], batch(1, 0)["x"]).all():
            raise ArtefactError("never seen")
        return answer

    assert replace(subject(classifier(), picky), make=one_sample).cases()


FACTS = (Facts("x", "float32", ("batch", 2), (0.5, 9.0)), Facts("ids", "int64", ("batch", 3)))


def test_rows_of_one_sample_get_other_values_that_are_valid():
    same = {"x": np.full((4, 2), [1, 8], np.float32), "ids": np.full((4, 3), [5, 6, 7])}
    found = rows_apart(FACTS, same)
    assert found["x"].tolist() == [[1, 8], [0.75, 6], [0.5, 4], [0.5, 2]]
    assert found["ids"].tolist() == [[5, 6, 7], [7, 5, 6], [6, 7, 5], [5, 6, 7]]
    assert [found[name].dtype for name in same] == [np.float32, np.int64]


def test_so_do_rows_of_zeros_and_strings():
    facts = (Facts("x", "float32", ("batch", 1)), Facts("s", "string", ("batch", 2)))
    same = {"x": np.zeros((2, 1), np.float32), "s": np.array([[b"a", b"b"]] * 2, object)}
    found = rows_apart(facts, same)
    assert found["x"].tolist() == [[0], [0.5]]
    assert found["s"].tolist() == [[b"a", b"b"], [b"b", b"a"]]


def test_inputs_whose_rows_differ_stay_as_they_are():
    mixed = {"x": np.array([[1, 2], [3, 4]], np.float32), "ids": np.full((2, 3), [5, 6, 7])}
    assert rows_apart(FACTS, mixed)["x"] is mixed["x"]
    assert rows_apart(FACTS[:1], {"x": mixed["x"]}) is None


def test_under_stress_they_prove_nothing(mixing):
    cases, unfit = stress_cases(mixing)
    assert "noise" not in [case.stress for case in cases]
    assert "changes with the batch there" in next(one.reason for one in unfit if one.stress == "noise")


def test_rows_that_are_not_are_taken_at_one_row_as_well(subject):
    made = subject(classifier(), parity=ParitySpec(batch_sizes=(1,)))
    assert {case.rows for case in made.cases()} == {1}


def test_rounding_that_depends_on_the_batch_is_no_mixing_whatever_the_twin_is_held_to(subject):
    def rounds(arrays, answer):
        return {name: value * np.float32(1 + 1e-6 * (len(value) > 1)) for name, value in answer.items()}

    made = subject(classifier(), rounds, parity=ParitySpec(atol=0.0, rtol=0.0))
    assert len(made.cases()) > 1
