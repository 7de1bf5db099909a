import numpy as np
import pytest
from understudy_client import MissingInput, TensorSpec, UnknownTensor, WrongShape
from understudy_client.calls import Config, Metadata
from understudy_client.description import ModelDescription, check_inputs, check_outputs

A, B = TensorSpec("a", "FP32", (-1, 3)), TensorSpec("b", "INT64", (-1, -1))
Y, SERVED_BY = TensorSpec("y", "FP32", (-1, 1)), TensorSpec("served_by", "BYTES", (-1, 1))


def _model(
    *inputs: TensorSpec, batch: int = 8, outputs: tuple[TensorSpec, ...] = (Y,), **config: object
) -> ModelDescription:
    return ModelDescription.of(Metadata("m", ("1",), inputs, outputs), Config(batch, **config))  # type: ignore[arg-type]


def _rows(count: int) -> np.ndarray:
    return np.ones((count, 3), np.float32)


def test_served_by_makes_a_hybrid_and_is_no_output_of_it() -> None:
    assert _model(A, outputs=(Y, SERVED_BY)).is_hybrid
    assert _model(A, outputs=(Y, SERVED_BY)).outputs == (Y,)
    assert not _model(A).is_hybrid
    assert not _model(A, outputs=(Y, TensorSpec("served_by", "FP32", (-1, 1)))).is_hybrid


def test_values_alone_go_to_the_only_input() -> None:
    batch = check_inputs(_rows(2), _model(A))
    assert [tensor.name for tensor in batch.tensors] == ["a"]
    assert batch.rows == 2


def test_inputs_come_in_the_models_order() -> None:
    batch = check_inputs({"b": np.zeros((2, 5), np.int64), "a": _rows(2)}, _model(A, B))
    assert [tensor.name for tensor in batch.tensors] == ["a", "b"]


def test_values_alone_are_not_enough_for_two_inputs() -> None:
    with pytest.raises(MissingInput, match="needs input 'a', 'b'"):
        check_inputs(_rows(2), _model(A, B))


def test_an_unknown_input_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownTensor, match="no input 'c'; it has 'a', 'b'"):
        check_inputs({"a": _rows(1), "c": _rows(1)}, _model(A, B))


def test_a_missing_input_is_named() -> None:
    with pytest.raises(MissingInput, match="needs input 'b'"):
        check_inputs({"a": _rows(1)}, _model(A, B))


def test_an_optional_input_may_be_left_out() -> None:
    batch = check_inputs({"a": _rows(1)}, _model(A, B, optional_inputs=frozenset({"b"})))
    assert [tensor.name for tensor in batch.tensors] == ["a"]


def test_a_missing_batch_dimension_is_named() -> None:
    with pytest.raises(WrongShape, match=r"takes shape \[-1, 3\].*got \[3\]; the batch dimension is missing"):
        check_inputs(np.ones(3, np.float32), _model(A))


@pytest.mark.parametrize(
    ("shape", "advice"),
    [((2, 4), "dimension 1 differs"), ((2, 3, 1), "needs 2 dimensions, not 3"), ((), "needs 2 dimensions, not 0")],
)
def test_another_shape_is_refused(shape: tuple[int, ...], advice: str) -> None:
    with pytest.raises(WrongShape, match=advice):
        check_inputs(np.ones(shape, np.float32), _model(A))


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(WrongShape, match="the batch is empty"):
        check_inputs(_rows(0), _model(A))


def test_inputs_of_different_rows_are_refused() -> None:
    with pytest.raises(WrongShape, match="same number of rows, and 'a' has 2"):
        check_inputs({"a": _rows(2), "b": np.zeros((3, 1), np.int64)}, _model(A, B))


def test_a_model_without_batches_has_no_rows_and_takes_nothing_for_a_batch() -> None:
    model = _model(TensorSpec("a", "FP32", (-1, 3)), batch=0)
    assert check_inputs(_rows(0), model).rows is None
    with pytest.raises(WrongShape, match="needs 2 dimensions, not 1"):
        check_inputs(np.ones(3, np.float32), model)


def test_wanted_outputs_are_checked_and_a_hybrid_also_tells_who_served() -> None:
    hybrid = _model(A, outputs=(Y, SERVED_BY))
    assert check_outputs(None, hybrid) == ()
    assert check_outputs([], hybrid) == ()
    assert check_outputs(["y"], hybrid) == ("y", "served_by")
    assert check_outputs("y", _model(A)) == ("y",)
    with pytest.raises(UnknownTensor, match="no output 'z'; it has 'y'"):
        check_outputs(["z"], hybrid)
