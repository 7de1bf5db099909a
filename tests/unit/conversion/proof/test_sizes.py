"""A dynamic dimension is proved at a size of 1 as well, and at others where all samples are alike in it."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from conversion.errors import ArtefactError
from conversion.interface import Facts
from conversion.proof.sizes import other_sizes, resized, sizes_of
from conversion.proof.stress import stress_cases
from conversion.search.candidates import Candidate, Trial
from conversion.search.gates import Gates
from conversion.spec import ParitySpec
from python_backend.original.bundle import Tensor

from ..classifier import classifier

ATTENTION = """
<ir_version: 9, opset_import: ["" : 18]>
net (float[batch, queries] q, float[batch, keys] k) => (float[batch] y)
<int64[1] one = {1}>
{
  a = ReduceSum<keepdims=0>(q, one)
  b = ReduceSum<keepdims=0>(k, one)
  y = Add(a, b)
}
"""
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


def times(found):
    """Rows and size of time of each batch; both inputs have the same."""
    assert all(batch["x"].shape[:2] == batch["length"].shape for batch in found)
    return [batch["x"].shape[:2] for batch in found]


@pytest.mark.parametrize(
    ("size", "others"),
    [
        (64, [(2, 33), (2, 32), (2, 1), (1, 128)]),
        (8, [(2, 5), (2, 4), (2, 1), (1, 16)]),
        (7, [(2, 3), (2, 1), (1, 14)]),
        (2, [(2, 1), (1, 4)]),
        (1, [(1, 2)]),
    ],
)
def test_samples_of_one_size_are_tried_at_others_in_all_inputs_alike(subject, size, others):
    assert times(other_sizes(described(subject, [size] * 3), pair(2, size))) == others


def test_samples_that_vary_are_tried_at_one_alone(subject):
    assert times(other_sizes(described(subject, [7, 7, 16]), pair(2, 7))) == [(2, 1)]


def test_samples_without_dynamic_dimensions_are_left_as_they_are(subject):
    made = replace(described(subject, [7] * 3), inputs=(Facts("x", "float32", ("batch", 7, 3)),))
    assert other_sizes(made, pair(2, 7)) == []


@pytest.mark.parametrize(
    ("rows", "size", "tried"), [(2, 2048, True), (2, 2049, False), (4, 2049, True), (4, 30_000, True)]
)
def test_twice_the_size_is_tried_where_it_takes_no_more_than_what_was_run_or_little(subject, rows, size, tried):
    made = described(subject, [size] * 3)
    made = replace(made, spec=replace(made.spec, parity=ParitySpec(batch_sizes=(1, rows))))
    assert ((1, 2 * size) in times(other_sizes(made, pair(2, size)))) == tried


def test_each_of_several_dimensions_is_one_alone_as_well(subject):
    image = {"image": np.ones((2, 6, 8), np.float32)}
    made = replace(
        described(subject, [0]),
        inputs=(Facts("image", "float32", ("batch", "height", "width")),),
        make=lambda rows, number: {"image": np.ones((rows, 6 + number, 8 + number), np.float32)},
    )
    shapes = [batch["image"].shape for batch in other_sizes(made, image)]
    assert shapes[:3] == [(2, 1, 1), (2, 1, 8), (2, 6, 1)]


def test_but_not_where_another_input_would_be_joined_to_it(subject):
    """Those may have to be of one size under two names: a size of 1 would be stretched to the other's."""
    facts = (Facts("x", "float32", ("batch", "time", 3)), Facts("length", "int64", ("batch", "length_1")))
    made = replace(described(subject, [6, 7, 8]), inputs=facts)
    found = other_sizes(made, pair(2, 6))
    assert [batch for batch in found if 1 in (batch["x"].shape[1], batch["length"].shape[1])] == found[:1]


@pytest.mark.parametrize(
    ("size", "others"),
    [
        (7, [(2, 6, 7), (2, 7, 6), (1, 14, 7), (1, 7, 14)]),
        (2, [(2, 2, 3), (2, 3, 2), (1, 4, 2), (1, 2, 4)]),
        (1, [(2, 2, 3), (2, 3, 2), (1, 2, 1), (1, 1, 2)]),
    ],
)
def test_several_dimensions_are_tried_at_sizes_that_differ_either_way(subject, size, others):
    found = other_sizes(attention(subject, size), queries_and_keys(2, size, size))
    assert [batch["q"].shape + batch["k"].shape[1:] for batch in found][-4:] == others


def test_however_far_apart_they_are_none_grows_by_it_but_alone(subject):
    found = other_sizes(attention(subject, 7), queries_and_keys(2, 7, 3000))
    assert [batch["q"].shape + batch["k"].shape[1:] for batch in found][-4:] == [
        (2, 6, 7),
        (2, 7, 6),
        (1, 14, 3000),
        (1, 7, 6000),
    ]


def attention(subject, size, change=None):
    """A subject with two inputs that each have a dynamic dimension of their own, as long in all samples."""
    made = subject(onnx.parser.parse_model(ATTENTION), change, parity=ParitySpec(stress=False))
    facts = (Facts("q", "float32", ("batch", "queries")), Facts("k", "float32", ("batch", "keys")))
    return replace(made, inputs=facts, make=lambda rows, number: queries_and_keys(rows, size + number, size + number))


def queries_and_keys(rows, queries, keys):
    return {"q": np.ones((rows, queries), np.float32), "k": np.ones((rows, keys), np.float32)}


def test_a_twin_that_is_right_only_where_two_sizes_are_the_same_is_refused(subject, tmp_path):
    """What an exporter keeps of `if q.shape[1] == k.shape[1]`, which it asks while it traces."""

    def branches(arrays, answer):
        return {"y": answer["y"] * np.float32(1 if arrays["q"].shape[1] == arrays["k"].shape[1] else 2)}

    made = attention(subject, 7, branches)
    cases = [*made.cases(), *stress_cases(made)[0]]
    trial = Gates(made, cases, None, tmp_path / "gates").admit(Trial(Candidate("torchscript")), made.model.graph)
    assert trial.fate == "parity"
    assert trial.reason.startswith("output 'y' at other sizes: q[2, 6], k[2, 7]: ")


def test_so_is_it_where_each_size_has_to_be_a_multiple_of_something(subject):
    def windows(arrays, answer):
        if any(array.shape[1] % 7 for array in arrays.values()):
            raise ArtefactError("no whole number of windows")
        return answer

    cases, _ = stress_cases(attention(subject, 7, windows))
    assert [(case.inputs["q"].shape[1], case.inputs["k"].shape[1]) for case in cases] == [(14, 7), (7, 14)]


def test_sizes_that_have_to_be_the_same_under_two_names_cost_a_twin_nothing(subject, tmp_path):
    def joins(arrays, answer):
        if arrays["q"].shape[1] != arrays["k"].shape[1]:
            raise ArtefactError("sizes differ")
        return answer

    made = attention(subject, 7, joins)
    stressed, unfit = stress_cases(made)
    trial = Gates(made, [*made.cases(), *stressed], None, tmp_path / "gates").admit(
        Trial(Candidate("torchscript")), made.model.graph
    )
    assert trial.alive
    assert len(unfit) == 4


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
    labels = [case.label for case in cases if case.stress == "other sizes"]
    assert labels == [f"other sizes: x[{rows}, 3, {size}, 12]" for rows, size in ((2, 7), (2, 6), (2, 1), (1, 24))]
    assert (len(cases) > len(labels)) == stress


def test_every_size_that_the_original_takes_is_proved(subject):
    """Half is no multiple of what a size has to be one of, and twice is."""

    def windows(arrays, answer):
        if arrays["x"].shape[2] % 12:
            raise ArtefactError("no whole number of windows")
        return answer

    cases, unfit = stress_cases(sized(subject, windows))
    assert [case.label for case in cases if case.stress == "other sizes"] == ["other sizes: x[1, 3, 24, 12]"]
    assert [one.stress for one in unfit] == ["other sizes"] * 3


def test_an_original_that_takes_no_other_size_proves_nothing_there(subject):
    def fails(arrays, answer):
        if arrays["x"].shape[2] != 12:
            raise ArtefactError("too small")
        return answer

    cases, unfit = stress_cases(sized(subject, fails))
    assert "other sizes" not in [case.stress for case in cases]
    assert unfit[0].stress == "other sizes"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda scores: scores * np.nan, "holds NaN or infinity"),
        (lambda scores: scores[:, :0], "is empty"),
        (lambda scores: scores[:, 0], "has 1 dimensions instead of 2"),
    ],
)
def test_what_could_not_be_served_is_no_answer_to_hold_a_twin_to(subject, change, reason):
    def odd(arrays, answer):
        return {"scores": change(answer["scores"])} if arrays["x"].shape[2] == 1 else answer

    made = sized(subject, odd, stress=False)
    made.model.outputs = (Tensor("scores", "float32", (None, 5)),)
    cases, unfit = stress_cases(made)
    assert [case.inputs["x"].shape[2] for case in cases] == [7, 6, 24]
    assert [(one.stress, one.reason) for one in unfit] == [
        ("other sizes", f"the original has no answer there, on x[2, 3, 1, 12]: its output 'scores' {reason}")
    ]


def test_nan_that_may_be_served_is_an_answer(subject):
    made = sized(subject, lambda arrays, answer: {"scores": answer["scores"] * np.nan}, stress=False)
    serving = replace(made.spec.serving, allow_non_finite_outputs=("scores",))
    cases, unfit = stress_cases(replace(made, spec=replace(made.spec, serving=serving)))
    assert (len(cases), unfit) == (4, [])
