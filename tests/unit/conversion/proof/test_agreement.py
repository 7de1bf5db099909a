import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from conversion.errors import ArtefactError
from conversion.proof.agreement import agreement, classes, cosine

SCORES = np.array([[0.1, 0.9, 0.0], [0.6, 0.3, 0.1]], np.float32)


def test_rows_that_name_the_same_class_agree_whatever_their_scores():
    twin = np.array([[0.4, 0.5, 0.1], [0.3, 0.4, 0.3]], np.float32)
    assert agreement({"p": SCORES}, {"p": twin}, "").tolist() == [1, 0]


def test_classes_are_looked_for_in_the_first_output_that_has_some():
    answer = {"boxes": np.zeros((2, 4, 4), np.float32), "n": np.array([[1, 2], [2, 1]]), "p": SCORES}
    assert classes(answer, "").tolist() == [1, 0]


def test_a_named_output_goes_first_and_may_have_empty_dimensions():
    answer = {"p": SCORES, "q": SCORES[:, ::-1, None, None]}
    assert classes(answer, "q").tolist() == [1, 2]


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("r", r"output 'r' has none.*outputs are p\[2, 1\], m\[2, 3, 3\]"),
        ("m", "output 'm' has none"),
        ("", "no output"),
    ],
)
def test_an_output_without_classes_is_refused(output, sentence):
    with pytest.raises(ArtefactError, match=sentence):
        classes({"p": np.zeros((2, 1), np.float32), "m": np.zeros((2, 3, 3), np.float32)}, output)


def test_answers_without_classes_agree_within_a_few_percent_of_their_length():
    original = {"price": np.array([[100.0], [100.0], [-100.0], [0.0], [0.0]], np.float32)}
    twin = {"price": np.array([[104.0], [106.0], [100.0], [1e-7], [0.1]], np.float32)}
    assert agreement(original, twin, "").tolist() == [1, 0, 0, 1, 0]


def test_other_dtypes_without_classes_must_be_equal():
    original = {"tokens": np.array([[1, 2], [3, 4]])}
    assert agreement(original, {"tokens": np.array([[1, 2], [3, 5]])}, "").tolist() == [1, 0]


def test_cosine_is_the_least_of_a_rows_float_outputs():
    original = {"a": np.eye(2, dtype=np.float32), "b": np.eye(2, dtype=np.float32), "n": np.array([1, 2])}
    twin = {"a": np.eye(2, dtype=np.float32), "b": np.array([[1, 1], [0, 1]], np.float32), "n": np.array([0, 0])}
    assert cosine(original, twin) == pytest.approx([0.5**0.5, 1])


def test_cosine_of_zeros_is_one_only_with_zeros():
    zeros, ones = np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)
    assert cosine({"a": zeros}, {"a": zeros}) == [1]
    assert cosine({"a": zeros}, {"a": ones}) == [0]


@given(arrays(np.float32, (4, 2, 3), elements=st.floats(allow_nan=True, allow_infinity=True, width=32)))
def test_every_answer_agrees_with_itself(values):
    assert agreement({"a": values}, {"a": values}, "").all()
    assert (cosine({"a": values}, {"a": values}) > 0.999).all()
