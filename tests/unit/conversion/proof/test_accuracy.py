from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversion.errors import ArtefactError
from conversion.interface import Facts
from conversion.proof.accuracy import Labelled, Scorer, labelled, loss_of
from conversion.spec import AccuracySpec

X = Facts("x", "float32", ("batch", 3))
ITEMS = 60


def right(batch):
    """Scores of three classes, which the input holds already."""
    return {"p": batch["x"]}


def wrong_on_large(batch):
    """The same, but for rows whose scores pass 5: there the class after it."""
    return {"p": np.where(batch["x"].max(axis=1, keepdims=True) > 5, np.roll(batch["x"], 1, axis=1), batch["x"])}


@pytest.fixture
def data():
    """60 rows of 3 scores with their classes; rows 30 to 32 are the large ones."""
    truth = np.arange(ITEMS) % 3
    scores = np.eye(3, dtype=np.float32)[truth]
    scores[30:33] *= 10
    return Labelled({"x": scores}, truth)


def wanting(spec, **keys):
    return replace(spec, accuracy=AccuracySpec(**keys))


def never(rows):
    raise AssertionError("samples are not wanted where there is data")


def write(folder, code):
    (folder / "data.py").write_text(f"import numpy as np\n{code}\n")


# --- scores


def test_a_twin_that_errs_on_three_of_sixty_rows_loses_five_percent(spec, data):
    found = Scorer(spec, data, right).accuracy(wrong_on_large)
    assert (found.metric, found.items, found.original, found.twin) == ("top1", 60, 1.0, 0.95)
    assert found.loss == pytest.approx(0.05)
    assert found.interval[0] < 0.05 < found.interval[1]
    assert found.cosine is None


def test_a_twin_that_is_right_more_often_than_the_original_gains(spec, data):
    found = Scorer(spec, data, wrong_on_large).accuracy(right)
    assert found.loss == pytest.approx(-0.05)
    assert found.failure is None


def test_the_same_errors_in_other_rows_are_no_loss_but_widen_the_interval(spec, data):
    def elsewhere(batch):
        answer = right(batch)["p"].copy()
        if answer.max() < 5:
            answer[:1] = np.roll(answer[:1], 1, axis=1)
        return {"p": answer}

    scorer = Scorer(spec, data, wrong_on_large)
    same, other = scorer.accuracy(wrong_on_large), scorer.accuracy(elsewhere)
    assert other.interval[1] - other.interval[0] > same.interval[1] - same.interval[0]


def test_a_twin_that_answers_nan_is_right_on_no_row(spec, data):
    labels = data.labels.copy()
    labels[labels == 1] = -1
    found = Scorer(spec, Labelled(data.inputs, labels), right).accuracy(lambda batch: {"p": batch["x"] * np.nan})
    assert (found.original, found.twin) == (pytest.approx(2 / 3), 0.0)
    assert found.failure is not None


def test_loss_up_to_max_loss_passes_and_more_is_told(spec, data):
    assert Scorer(wanting(spec, max_loss=0.05), data, right).accuracy(wrong_on_large).failure is None
    told = Scorer(wanting(spec, max_loss=0.049), data, right).accuracy(wrong_on_large).failure
    assert told.startswith("it loses 5.000% of top1 on 60 items (95 % interval ")
    assert told.endswith("allowed are 4.900%")


def test_without_labels_the_original_is_right_and_agreement_counts(spec, data):
    found = Scorer(spec, Labelled(data.inputs, None), right).accuracy(wrong_on_large)
    assert (found.metric, found.original, found.twin) == ("agreement", 1.0, 0.95)
    assert found.cosine == pytest.approx(0.95)


@pytest.mark.parametrize("output", ["score", "flat"])
def test_an_output_without_classes_is_refused_at_the_first_answer_of_the_original(spec, data, output):
    """Not when the search has come to weigh a twin."""
    asked = []

    def original(batch):
        asked.append(batch)
        return {**right(batch), "flat": batch["x"][:, 0]}

    with pytest.raises(ArtefactError, match=rf"output '{output}' has none; .* the outputs are p\[25, 3\], flat\[25\]"):
        Scorer(wanting(spec, output=output), Labelled(data.inputs, None), original)
    assert len(asked) == 1
    Scorer(wanting(spec, output="p"), Labelled(data.inputs, None), original)


def test_the_original_runs_once_however_many_twins(spec, data):
    for each in (data, Labelled(data.inputs, None)):
        rows = []
        scorer = Scorer(spec, each, lambda batch, rows=rows: (rows.append(len(batch["x"])), right(batch))[1])
        scorer.accuracy(right)
        scorer.accuracy(wrong_on_large)
        assert sum(rows) == ITEMS


def test_labels_that_fit_no_row_are_refused_since_any_twin_would_pass(spec, data):
    with pytest.raises(ArtefactError, match="'top1' the original is wrong on all 60 rows; correct the labels"):
        Scorer(spec, Labelled(data.inputs, data.labels + 7), right)


def test_a_metric_of_the_spec_scores_each_row_from_all_outputs(spec, data, tmp_path):
    write(tmp_path, "def half(outputs, labels):\n    return np.where(outputs['p'].argmax(1) == labels, 0.5, 0.25)")
    scorer = Scorer(wanting(spec, metric="data.py:half", max_loss=1.0), data, right)
    found = scorer.accuracy(wrong_on_large)
    assert (found.metric, found.original) == ("data.py:half", 0.5)
    assert found.loss == pytest.approx(0.25 * 3 / 60)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("outputs['q']", r"accuracy\.metric 'data\.py:score': KeyError: 'q'"),
        ("labels * 1.0", r"must give 25 scores from 0 to 1, one for each row; it gave \[0\.0, 1\.0, 2\.0"),
        ("np.ones(1)", r"it gave \[1\.0\]… of shape \[1\]"),
        ("np.full(len(labels), np.nan)", r"it gave \[nan"),
        ("'good'", "ValueError: could not convert string"),
    ],
)
def test_a_metric_that_breaks_its_contract_is_named(spec, data, tmp_path, body, sentence):
    write(tmp_path, f"def score(outputs, labels):\n    return {body}")
    with pytest.raises(ArtefactError, match=sentence):
        Scorer(wanting(spec, metric="data.py:score"), data, right)


def test_a_metric_that_is_not_there_is_named(spec, data):
    with pytest.raises(ArtefactError, match=r"net: accuracy\.metric: .*'absent\.py:score'"):
        Scorer(wanting(spec, metric="absent.py:score"), data, right)


# --- intervals


def test_the_interval_adds_half_an_item_to_each_cell_of_matched_proportions():
    """Of 1144 pairs, 132 are right only by the original and 107 only by the twin; worked by hand."""
    original, twin = np.zeros(1144), np.zeros(1144)
    original[:132], twin[132:239] = 1, 1
    middle, count = 25 / 1146, 1146
    reach = 1.959964 * ((240 - 25**2 / count) ** 0.5) / count
    assert loss_of(original, twin)[1] == pytest.approx((middle - reach, middle + reach))


def test_no_difference_among_few_rows_is_no_certainty():
    assert loss_of(np.ones(10), np.ones(10))[1][1] > 0.1
    assert loss_of(np.ones(5000), np.ones(5000))[1][1] < 0.001


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=50))
def test_the_interval_lies_around_its_middle_within_its_range_and_turns_with_the_sign(pairs):
    original, twin = np.array(pairs).T
    loss, (low, high) = loss_of(original, twin)
    assert -1 <= low <= loss * len(pairs) / (len(pairs) + 2) <= high <= 1
    other, (other_low, other_high) = loss_of(twin, original)
    assert (other, other_low, other_high) == pytest.approx((-loss, -high, -low))


# --- data


def test_a_file_gives_inputs_and_labels(spec, tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 3), np.float32), labels=np.arange(4))
    found = labelled(wanting(spec, file="d.npz"), never, [X])
    assert (found.items, list(found.inputs), found.labels.tolist()) == (4, ["x"], [0, 1, 2, 3])


def test_a_generator_is_called_without_arguments(spec, tmp_path):
    write(tmp_path, "def make():\n    return {'x': np.zeros((4, 3), np.float32), 'labels': [0, 1, 2, 0]}")
    found = labelled(wanting(spec, generator="data.py:make"), never, [X])
    assert found.labels.tolist() == [0, 1, 2, 0]


def test_without_data_so_many_samples_are_compared(spec):
    found = labelled(wanting(spec, items=7), lambda rows: {"labels": np.zeros((rows, 3))}, [X])
    assert (found.items, found.labels) == (7, None)
    assert "labels" in found.inputs


def test_agreement_leaves_labels_aside(spec, tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 3), np.float32), labels=np.arange(4))
    assert labelled(wanting(spec, file="d.npz", metric="agreement"), never, [X]).labels is None


def test_all_rows_come_once_and_in_order():
    rows = np.arange(60)
    parts = [(batch["x"], where) for batch, where in Labelled({"x": rows}, None).batches()]
    assert np.concatenate([part for part, _ in parts]).tolist() == rows.tolist()
    assert all(np.array_equal(rows[where], part) for part, where in parts)


@pytest.mark.parametrize(("largest", "calls"), [(1, [1] * 7), (4, [4, 3]), (100, [7])])
def test_no_call_has_more_rows_than_the_model_is_served_with(spec, tmp_path, largest, calls):
    np.savez(tmp_path / "d.npz", x=np.eye(7, 3, dtype=np.float32), labels=np.zeros(7, int))
    served = replace(spec, serving=replace(spec.serving, max_batch_size=largest))
    for keys in ({"file": "d.npz"}, {"file": "d.npz", "metric": "agreement"}, {"items": 7}):
        seen = []
        data = labelled(wanting(served, **keys), lambda rows: {"x": np.ones((rows, 3), np.float32)}, [X])
        Scorer(served, data, lambda batch, seen=seen: (seen.append(len(batch["x"])), right(batch))[1])
        assert seen == calls


ROWS = np.zeros((4, 3), np.float32)


@pytest.mark.parametrize(
    ("arrays", "metric", "sentence"),
    [
        ({"y": ROWS}, "", r"the data of \[accuracy\] 'd\.npz' lack input 'x'; they have y"),
        ({"x": ROWS[:, :2]}, "", r"the shape \[4, 2\], expected \['batch', 3\]"),
        ({"x": ROWS.astype(np.float64)}, "", "as float64, expected float32"),
        ({"x": ROWS, "label": np.zeros(4)}, "", "have 'label', which is no input; labels are in an array 'labels'"),
        ({"x": ROWS, "labels": np.zeros(3, int)}, "", "as many labels as rows"),
        ({"x": ROWS, "labels": np.array(1)}, "", "as many labels as rows"),
        ({"x": ROWS}, "top1", "accuracy.metric 'top1' needs an array 'labels'"),
        ({"x": ROWS}, "score.py:f1", "accuracy.metric 'score.py:f1' needs an array 'labels'"),
        ({"x": ROWS, "labels": ROWS}, "", r"needs a class index for each row.*found float32\[4, 3\]"),
        ({"x": ROWS, "labels": np.zeros(4)}, "top1", r"found float64\[4\]"),
    ],
)
def test_data_that_cannot_be_scored_are_refused(spec, tmp_path, arrays, metric, sentence):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(ArtefactError, match=sentence):
        labelled(wanting(spec, file="d.npz", metric=metric), never, [X])


def test_a_metric_that_needs_labels_is_refused_without_data(spec):
    with pytest.raises(ArtefactError, match="'top1' needs an array 'labels'"):
        labelled(wanting(spec, metric="top1"), lambda rows: {"x": ROWS}, [X])


def test_a_missing_or_broken_file_is_named(spec, tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"nothing")
    (tmp_path / "empty.npz").write_bytes(b"")
    for name in ("absent.npz", "broken.npz", "empty.npz"):
        with pytest.raises(ArtefactError, match=rf"accuracy\.file .*{name} is not a readable \.npz"):
            labelled(wanting(spec, file=name), never)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("def make():\n    raise OSError('no such disk')", "OSError: no such disk"),
        ("def make():\n    return None", "AttributeError"),
        ("def make(count, seed):\n    return {}", "TypeError: make"),
        ("", "cannot be imported"),
    ],
)
def test_a_generator_that_fails_is_named_with_its_reason(spec, tmp_path, code, sentence):
    write(tmp_path, code)
    with pytest.raises(ArtefactError, match=rf"net: accuracy\.generator 'data\.py:make': .*{sentence}"):
        labelled(wanting(spec, generator="data.py:make"), never)
