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


@pytest.mark.parametrize(
    ("found", "agreeing"),
    [([[4, 2], [7, 9]], [1, 1]), ([[4, 3], [7, 9]], [0, 1]), ([[41, 39], [44, 46]], [0, 0])],
)
def test_sorted_scores_agree_where_the_classes_beside_them_are_the_same(found, agreeing):
    scores = np.array([[0.9, 0.1], [0.6, 0.3]], np.float32)
    original = {"scores": scores, "ids": np.array([[4, 2], [7, 9]])}
    assert agreement(original, {"scores": scores, "ids": np.array(found)}, "").tolist() == agreeing


def test_so_they_do_where_the_classes_are_words_or_marks():
    original = {"p": SCORES, "word": np.array([b"owl", b"cat"], object), "sure": np.array([True, False])}
    assert agreement(original, original | {"word": np.array(["owl", "dog"], object)}, "p").tolist() == [1, 0]
    assert agreement(original, original | {"sure": np.array([False, False])}, "").tolist() == [0, 1]


def test_whole_scores_that_are_named_may_differ_where_the_class_is_the_same():
    original = {"n": np.array([[1, 2], [2, 1]])}
    assert agreement(original, {"n": np.array([[1, 9], [1, 2]])}, "n").tolist() == [1, 0]


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


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_finite_in_one_of_the_two_alone_does_not_agree(odd):
    zeros = np.zeros((3, 2, 2), np.float32)
    values = zeros.copy()
    values[1, 0, 1] = odd
    assert agreement({"y": zeros}, {"y": values}, "").tolist() == [1, 0, 1]
    assert agreement({"y": values}, {"y": zeros}, "").tolist() == [1, 0, 1]
    assert agreement({"y": values}, {"y": values}, "").tolist() == [1, 1, 1]
    assert cosine({"y": zeros}, {"y": values}).tolist() == [1, 0, 1]


def test_infinities_of_another_sign_do_not_agree():
    infinite = np.full((1, 2, 2), np.inf, np.float32)
    assert agreement({"y": infinite}, {"y": -infinite}, "") == [0]


def test_what_is_not_finite_counts_beside_the_output_that_has_the_classes():
    other = np.ones((2, 2, 2), np.float32)
    broken = np.stack([other[0], np.full((2, 2), np.nan, np.float32)])
    assert agreement({"p": SCORES, "m": other}, {"p": SCORES, "m": broken}, "").tolist() == [1, 0]


def test_a_row_with_nan_among_its_scores_has_no_class():
    scores = np.array([[np.nan, 0.9, 0.0], [0.6, 0.3, -np.inf]], np.float32)
    assert classes({"p": scores}, "").tolist() == [-1, 0]
    assert agreement({"p": scores}, {"p": scores}, "").tolist() == [1, 1]
    assert agreement({"p": scores}, {"p": np.roll(scores, 1, axis=1)}, "").tolist() == [0, 0]
    assert classes({"n": np.array([[1, 2], [2, 1]])}, "n").tolist() == [1, 0]


def test_strings_agree_as_bytes_or_as_text():
    original = {"label": np.array([b"owl", "\N{LATIN SMALL LETTER E WITH ACUTE}".encode()], object)}
    twin = {"label": np.array(["owl", "\N{LATIN SMALL LETTER E WITH ACUTE}"], object)}
    assert agreement(original, twin, "").tolist() == [1, 1]
    assert agreement(original, {"label": np.array(["cat", "e"])}, "").tolist() == [0, 0]


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
