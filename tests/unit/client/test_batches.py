import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_client import Infer, InferAnswer, InvalidAnswer, Tensor
from understudy_client.batches import join_outputs, serving_rows, split
from understudy_client.calls import Config, Metadata
from understudy_client.description import Batch, ModelDescription

HYBRID = ModelDescription.of(Metadata("m", ("1",), (), ()), Config(4))
WHOLE = ModelDescription.of(Metadata("m", ("1",), (), ()), Config(0))


def _batch(rows: int) -> Batch:
    values = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
    return Batch((Tensor("x", "FP32", values), Tensor("n", "INT64", np.arange(rows))), rows)


def _answer(**outputs: object) -> InferAnswer:
    return InferAnswer("m", "1", {name: np.asarray(value) for name, value in outputs.items()})


@given(st.integers(1, 60), st.integers(1, 20))
def test_parts_cover_the_batch_in_order_and_none_is_too_large(rows: int, most: int) -> None:
    batch = _batch(rows)
    parts = split(Infer("m", request_id="r"), batch, most)
    assert len(parts) == -(-rows // most)
    assert all(len(part.inputs[0].array) <= most for part in parts)
    for place, tensor in enumerate(batch.tensors):
        np.testing.assert_array_equal(np.concatenate([part.inputs[place].array for part in parts]), tensor.array)


def test_one_request_keeps_its_id_and_parts_are_numbered() -> None:
    (whole,) = split(Infer("m", request_id="r"), _batch(4), 4)
    assert (whole.request_id, whole.rows) == ("r", None)
    parts = split(Infer("m", request_id="r"), _batch(5), 4)
    assert [(part.request_id, part.rows) for part in parts] == [("r.0", (0, 3)), ("r.1", (4, 4))]
    assert parts[1].title == "inference on 'm', rows 4 to 4,"


def test_a_model_without_batches_is_never_split() -> None:
    assert len(split(Infer("m"), Batch(_batch(9).tensors, None), 0)) == 1


def test_outputs_are_joined_in_the_order_of_the_calls() -> None:
    calls = split(Infer("m"), _batch(5), 2)
    answers = [_answer(y=[[0], [1]]), _answer(y=[[2], [3]]), _answer(y=[[4]])]
    assert join_outputs(calls, answers)["y"].ravel().tolist() == [0, 1, 2, 3, 4]


def test_outputs_can_be_written_to_even_where_the_wire_gave_them_read_only() -> None:
    values = np.ones(3)
    values.flags.writeable = False
    joined = join_outputs([Infer("m")], [InferAnswer("m", "1", {"y": values})])
    joined["y"][0] = 7
    assert values[0] == 1


def test_a_part_with_too_few_rows_is_an_invalid_answer_that_names_its_rows() -> None:
    calls = split(Infer("m"), _batch(3), 2)
    with pytest.raises(InvalidAnswer, match=r"rows 2 to 2.*output 'y' has shape \[2\] for 1 rows"):
        join_outputs(calls, [_answer(y=[0, 1]), _answer(y=[0, 1])])


def test_parts_that_do_not_fit_together_are_an_invalid_answer() -> None:
    calls = split(Infer("m"), _batch(3), 2)
    with pytest.raises(InvalidAnswer, match=r"do not fit together: \[2, 1\], \[1, 2\]"):
        join_outputs(calls, [_answer(y=[[0], [1]]), _answer(y=[[2, 3]])])


def test_a_missing_output_is_an_invalid_answer() -> None:
    with pytest.raises(InvalidAnswer, match="output z is missing"):
        join_outputs([Infer("m", outputs=("y", "z"))], [_answer(y=[0])])
    calls = split(Infer("m"), _batch(3), 2)
    with pytest.raises(InvalidAnswer, match="output z is missing"):
        join_outputs(calls, [_answer(y=[0, 1], z=[0, 1]), _answer(y=[0])])


def test_who_served_each_row_is_read_from_the_output() -> None:
    (call,) = split(Infer("m"), _batch(2), 4)
    outputs = {"served_by": np.array([[b"onnx"], [b"original"]], dtype=object)}
    assert serving_rows([call], outputs, HYBRID) == ("onnx", "original")
    with pytest.raises(InvalidAnswer, match="1 values for 2 rows"):
        serving_rows([call], {"served_by": np.array([b"onnx"], dtype=object)}, HYBRID)
    with pytest.raises(InvalidAnswer, match="served_by is missing"):
        serving_rows([call], {}, HYBRID)
    assert serving_rows([call], {"served_by": np.array([b"onnx"], dtype=object)}, WHOLE) == ("onnx",)
