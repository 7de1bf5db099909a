import json

import numpy as np
import pytest
from tritonclient.grpc import model_config_pb2

from loadtests.questions import NoQuestions, announced, from_release, made_up
from loadtests.wire import Answer


def release(folder, parity=(), **arrays):
    np.savez(folder / "golden.npz", **arrays)
    (folder / "evidence.json").write_text(json.dumps({"parity": {"atol": 0.01, "rtol": 0.001, **dict(parity)}}))
    return folder


@pytest.fixture
def two_rows(tmp_path):
    """A release of a model with an input of floats, one of strings, and one output."""
    return release(
        tmp_path,
        **{
            "input/x": np.array([[1.0], [2.0]], np.float32),
            "input/word": np.array([[b"a"], [b"bcd"]]),
            "output/y": np.array([[10.0], [20.0]], np.float32),
        },
    )


def test_every_row_of_the_golden_samples_is_a_question_with_its_answer(two_rows):
    first, second = from_release(two_rows, batched=True)
    assert first.inputs["x"].tolist() == [[1.0]]
    assert second.inputs["word"].tolist() == [[b"bcd"]]
    assert second.inputs["word"].dtype == np.object_
    assert second.right.outputs["y"].tolist() == [[20.0]]


def test_triton_is_asked_for_a_scalar_in_each_row_as_it_announces_it(tmp_path):
    arrays = {"input/n": np.array([1, 2]), "input/x": np.zeros((2, 3)), "output/score": np.array([0.5, 0.75])}
    questions = from_release(release(tmp_path, **arrays), batched=True)
    config = model_config_pb2.ModelConfig(max_batch_size=4)
    config.input.add(name="n", data_type=model_config_pb2.TYPE_INT64, dims=[1])
    config.input.add(name="x", data_type=model_config_pb2.TYPE_FP64, dims=[3])
    config.output.add(name="score", data_type=model_config_pb2.TYPE_FP64, dims=[1])
    second = announced(questions, config)[1]
    assert (second.inputs["n"].tolist(), second.inputs["x"].shape) == ([[2]], (1, 3))
    assert second.wrong(Answer({"score": np.array([[0.75]])}, frozenset({"onnx"}))) is None
    assert questions[1].wrong(Answer({"score": np.array([0.75])}, frozenset())) is None, "the graph gives it as it is"


def test_a_lone_scalar_without_a_batch_is_announced_as_one_element(tmp_path):
    questions = from_release(release(tmp_path, **{"input/x": np.array(1.0), "output/y": np.array(2.0)}), batched=False)
    config = model_config_pb2.ModelConfig()
    config.input.add(name="x", data_type=model_config_pb2.TYPE_FP64, dims=[1])
    config.output.add(name="y", data_type=model_config_pb2.TYPE_FP64, dims=[1])
    (only,) = announced(questions, config)
    assert (only.inputs["x"].shape, only.right.outputs["y"].shape) == ((1,), (1,))


def test_without_a_batch_all_of_it_is_one_question(two_rows):
    (only,) = from_release(two_rows, batched=False)
    assert only.inputs["x"].shape == (2, 1)


@pytest.mark.parametrize(("value", "right"), [(20.0, True), (20.005, True), (20.5, False)])
def test_an_answer_is_right_within_the_tolerance_of_the_release(two_rows, value, right):
    question = from_release(two_rows, batched=True)[1]
    answer = Answer({"y": np.array([[value]], np.float32)}, frozenset({"onnx"}))
    assert (question.wrong(answer) is None) is right


@pytest.mark.parametrize(("value", "right"), [(9e-5, True), (9e-4, False)])
def test_the_relative_part_of_the_tolerance_is_of_the_value(tmp_path, value, right):
    golden = {"input/x": np.ones((1, 2), np.float32), "output/y": np.array([[0.0, 1.0]], np.float32)}
    (question,) = from_release(release(tmp_path, {"atol": 1e-4, "rtol": 1e-3}, **golden), batched=True)
    answer = Answer({"y": np.array([[value, 1.0]], np.float32)}, frozenset())
    assert (question.wrong(answer) is None) is right


@pytest.mark.parametrize(
    ("row", "found", "right"),
    [
        (0, {}, True),
        (0, {"y": [[12.01]]}, True),  # of_largest is of the whole output, 20
        (0, {"y": [[12.1]]}, False),
        (1, {"y": [[18.0]]}, True),
        (1, {"y": [[17.7]]}, False),
        (1, {"y": [[np.nan]]}, False),
        (1, {"y": [18.0]}, False),
        (0, {"few": [[1.5]]}, False),  # the largest of each output by itself
        (0, {"few": [[1.09]]}, True),
        (1, {"few": [[-np.inf]]}, True),
        (1, {"few": [[0.0]]}, False),
        (0, {"label": [[b"b"]]}, False),
        (0, {"level": [[4]]}, True),
        (0, {"level": [[6]]}, False),
        (0, {"class": [[3]]}, False),  # one class is no nearer than another
        (0, {"more": [[1.0]]}, False),
    ],
)
def test_a_part_of_the_largest_value_is_taken_in(tmp_path, row, found, right):
    kinds = {
        "y": np.float32,
        "few": np.float32,
        "label": object,
        "level": np.uint8,
        "class": np.int64,
        "more": np.float32,
    }
    outputs = {
        "y": np.array([[10.0], [20.0]], np.float32),
        "few": np.array([[1.0], [-np.inf]], np.float32),
        "label": np.array([[b"a"], [b"b"]]),
        "level": np.array([[2], [30]], np.uint8),
        "class": np.array([[2], [30]]),
    }
    inputs = {"input/x": np.zeros((2, 1), np.float32)}
    folder = release(tmp_path, {"of_largest": 0.1}, **inputs, **{f"output/{name}": a for name, a in outputs.items()})
    question = from_release(folder, batched=True)[row]
    answer = question.right.outputs | {name: np.array(value, kinds[name]) for name, value in found.items()}
    assert (question.wrong(Answer(answer, frozenset({"onnx"}))) is None) is right


def test_a_release_without_samples_is_told(tmp_path, two_rows):
    with pytest.raises(NoQuestions, match=r"holds no golden samples.*convert the model"):
        from_release(tmp_path / "elsewhere", batched=True)
    with pytest.raises(NoQuestions, match="holds no sample"):
        from_release(release(tmp_path, **{"input/x": np.zeros((0, 1), np.float32)}), batched=True)
    sound = (tmp_path / "golden.npz").read_bytes()
    for damaged in (b"PK no archive", b"", sound[: len(sound) // 2]):
        (tmp_path / "golden.npz").write_bytes(damaged)
        with pytest.raises(NoQuestions, match="holds no golden samples"):
            from_release(tmp_path, batched=True)


def test_made_up_questions_fit_the_model_and_the_original_says_what_is_right():
    config = model_config_pb2.ModelConfig(max_batch_size=4)
    config.input.add(name="x", data_type=model_config_pb2.TYPE_FP32, dims=[3])
    questions = made_up(config, lambda inputs: Answer({"y": inputs["x"] * 2}, frozenset({"original"})))
    assert len({question.inputs["x"].tobytes() for question in questions}) == len(questions) > 1
    for question in questions:
        assert question.inputs["x"].shape == (1, 3)
        right = Answer({"y": question.inputs["x"] * 2}, frozenset({"onnx"}))
        assert question.wrong(right) is None
        assert question.wrong(Answer({"y": question.inputs["x"] * 3}, frozenset())) is not None
