"""A dynamic dimension in which all samples are alike is proved at another size as well."""

from dataclasses import replace

import numpy as np
import pytest

from conversion.errors import ArtefactError
from conversion.interface import Facts
from conversion.proof.sizes import other_sizes, resized, sizes_of
from conversion.proof.stress import stress_cases
from conversion.spec import ParitySpec

from ..classifier import classifier

FACTS = (Facts("x", "float32", ("batch", "time", 3)), Facts("length", "int64", ("batch", "time")))


def pair(rows, time):
    x = np.arange(rows * time * 3, dtype=np.float32).reshape(rows, time, 3)
    return {"x": x, "length": np.ones((rows, time), np.int64)}


def described(subject, sizes):
    """A subject whose samples have these sizes of time, by their number."""
    return replace(
        subject(classifier(), parity=ParitySpec(batch_sizes=(1, 2, 4))),
        inputs=FACTS,
        make=lambda rows, number: pair(rows, sizes[number]),
    )


@pytest.mark.parametrize(("size", "other"), [(8, 4), (7, 3), (1, 2)])
def test_samples_of_one_size_are_tried_at_another_in_all_inputs_alike(subject, size, other):
    found = other_sizes(described(subject, [size] * 3), pair(2, size))
    assert found["x"].shape == (2, other, 3)
    assert found["length"].shape == (2, other)


def test_samples_that_vary_are_left_as_they_are(subject):
    assert other_sizes(described(subject, [7, 7, 16]), pair(2, 7)) is None


def test_a_batch_can_be_cut_or_begun_again():
    batch = pair(2, 3)
    assert sizes_of(FACTS, batch) == {"batch": 2, "time": 3}
    assert resized(FACTS, batch, {"time": 5})["x"][0, :, 0].tolist() == [0, 3, 6, 0, 3]


def sized(subject, change=None, stress=True):
    """The classifier with an image of any height."""
    graph = classifier()
    graph.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    made = subject(graph, change, parity=ParitySpec(stress=stress))
    return replace(made, inputs=(Facts("x", "float32", ("batch", 3, "height", 12)),))


@pytest.mark.parametrize("stress", [True, False])
def test_so_a_case_is_made_with_stress_or_without(subject, stress):
    cases, _ = stress_cases(sized(subject, stress=stress))
    assert cases[0].label == "other sizes: x[2, 3, 6, 12]"
    assert (len(cases) > 1) == stress


def test_an_original_that_takes_no_other_size_proves_nothing_there(subject):
    def fails(arrays, answer):
        if arrays["x"].shape[2] < 12:
            raise ArtefactError("too small")
        return answer

    cases, unfit = stress_cases(sized(subject, fails))
    assert "other sizes" not in [case.stress for case in cases]
    assert unfit[0].stress == "other sizes"
