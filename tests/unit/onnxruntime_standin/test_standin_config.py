"""Completing a configuration, holding it against the graph, refusing what is missing."""

from typing import Any

import pytest

from python_backend.onnxruntime.autocomplete import complete, is_carried, is_complete
from python_backend.onnxruntime.errors import FeatureMissing, SignatureRefused
from python_backend.onnxruntime.features import refuse_missing_features
from python_backend.onnxruntime.graph import Graph, GraphTensor
from python_backend.onnxruntime.validate import validate, written_dims


def tensors(**shapes: tuple[int, ...]) -> dict[str, GraphTensor]:
    return {name: GraphTensor(name, "TYPE_FP32", shape) for name, shape in shapes.items()}


GRAPH = Graph(tensors(x=(-1, 16)), tensors(y=(-1, 16)), {})


def entry(name: str, *dims: int, data_type: str = "TYPE_FP32", **more: Any) -> dict[str, Any]:
    return {"name": name, "data_type": data_type, "dims": list(dims), **more}


def config(**fields: Any) -> dict[str, Any]:
    return {"name": "net", "max_batch_size": 8, "input": [entry("x", 16)], "output": [entry("y", 16)], **fields}


def empty(**fields: Any) -> dict[str, Any]:
    return {"name": "net", "max_batch_size": 0, "input": [], "output": [], **fields}


def test_a_complete_configuration_is_left_alone() -> None:
    assert is_complete(config())
    assert is_complete(config(input=[], batch_input=[{"kind": "BATCH_ELEMENT_COUNT"}]))
    assert not is_complete(config(output=[]))
    assert not is_complete(empty())


def test_a_graph_that_batches_gets_four_rows_and_dynamic_batching() -> None:
    made = empty()
    complete(made, GRAPH)
    assert made == {
        "name": "net",
        "max_batch_size": 4,
        "dynamic_batching": {},
        "input": [entry("x", 16)],
        "output": [entry("y", 16)],
    }


def test_what_is_written_stays() -> None:
    made = empty(max_batch_size=2, output=[entry("y", 16)], dynamic_batching={"max_queue_delay_microseconds": 7})
    complete(made, GRAPH)
    assert made["max_batch_size"] == 2
    assert made["dynamic_batching"] == {"max_queue_delay_microseconds": 7}
    one = empty(max_batch_size=1)
    complete(one, GRAPH)
    assert "dynamic_batching" not in one
    sequence = empty(sequence_batching={})
    complete(sequence, GRAPH)
    assert "dynamic_batching" not in sequence


def test_a_graph_that_does_not_batch_keeps_its_whole_shape() -> None:
    made = empty()
    complete(made, Graph(tensors(x=(4, 16), s=()), tensors(y=(4,)), {}))
    assert made["max_batch_size"] == 0
    assert made["input"] == [entry("s", 1), entry("x", 4, 16)]
    assert "dynamic_batching" not in made


def test_a_written_batch_that_the_graph_cannot_have_is_refused() -> None:
    with pytest.raises(SignatureRefused, match="'net': model does not support batching while non-zero max_batch_size"):
        complete(empty(max_batch_size=8), Graph(tensors(x=(4,)), tensors(y=(4,)), {}))


def test_one_dimension_per_row_becomes_a_reshape() -> None:
    made = empty()
    complete(made, Graph(tensors(x=(-1,)), tensors(y=(-1, 2)), {}))
    assert made["input"] == [entry("x", 1, reshape={"shape": []})]
    assert written_dims(made["input"][0]) == ()


def test_what_triton_cannot_carry_is_left_for_triton_to_name() -> None:
    made = empty()
    complete(made, Graph({"x": GraphTensor("x", "TYPE_INVALID", (-1, 2))}, tensors(y=(-1, 2)), {}))
    assert not is_carried(made["input"][0])
    assert is_carried(made["output"][0])


def test_an_agreeing_configuration_passes() -> None:
    validate(config(), GRAPH)
    validate(config(output=[]), GRAPH)
    validate(config(input=[entry("x", 4)]), Graph(tensors(x=(-1, -1)), tensors(y=(-1, 16)), {}))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"input": []}, r"configuration expects 0 inputs, model provides 1"),
        ({"input": [entry("xx", 16)]}, r"unexpected inference input 'xx', allowed inputs are: x"),
        ({"output": [entry("q", 1)]}, r"unexpected inference output 'q', allowed outputs are: y"),
        ({"input": [entry("x", 16, data_type="TYPE_BF16")]}, r"unsupported datatype TYPE_BF16 for input 'x'"),
        (
            {"input": [entry("x", 16, data_type="TYPE_INT32")]},
            r"expects datatype TYPE_INT32 for input 'x', model provides TYPE_FP32",
        ),
        ({"input": [entry("x", 8)]}, r"model expects 2 dimensions \(shape \[-1,16\]\).*complete shape \[-1,8\]"),
        ({"output": [entry("y", -1)]}, r"tensor 'y': .*complete shape \[-1,-1\]"),
        ({"input": [entry("x", 4, 4)]}, r"specifies 3 dimensions"),
        ({"max_batch_size": 0}, r"expects 2 dimensions \(shape \[-1,16\]\) .* specifies 1 dimensions \(shape \[16\]\)"),
        ({"input": [entry("x", 16), entry("w", 16, optional=True)]}, r"optional input 'w' is not supported"),
    ],
)
def test_a_difference_is_refused_in_the_cpp_backends_words(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SignatureRefused, match=sentence):
        validate(config(**fields), GRAPH)


def test_a_fixed_first_dimension_cannot_batch() -> None:
    with pytest.raises(
        SignatureRefused, match=r"first dimension must be -1; but shape expected by the model is \[4,16\]"
    ):
        validate(config(), Graph(tensors(x=(4, 16)), tensors(y=(-1, 16)), {}))


def test_an_overridable_initializer_may_be_an_optional_input() -> None:
    graph = Graph(tensors(x=(-1, 16)), tensors(y=(-1, 16)), tensors(w=(16,)))
    given = [entry("x", -1, 16), entry("w", 16, optional=True)]
    validate(config(max_batch_size=0, input=given, output=[entry("y", -1, 16)]), graph)


def test_a_scalar_takes_only_ones() -> None:
    graph = Graph(tensors(x=()), tensors(y=()), {})
    validate(config(max_batch_size=0, input=[entry("x", 1)], output=[entry("y", 1, 1)]), graph)
    with pytest.raises(SignatureRefused, match=r"scalar tensor 'x'.* provided: \[2\]"):
        validate(config(max_batch_size=0, input=[entry("x", 2)], output=[entry("y", 1)]), graph)


def control(name: str, **values: Any) -> dict[str, Any]:
    batching = {"control_input": [{"name": name, "control": [{"kind": "CONTROL_SEQUENCE_START", **values}]}]}
    return config(sequence_batching=batching)


def test_a_sequence_control_is_an_input_of_the_graph() -> None:
    graph = Graph(tensors(x=(-1, 16), start=(-1, 1)), tensors(y=(-1, 16)), {})
    validate(control("start", fp32_false_true=[0, 1]), graph)
    with pytest.raises(SignatureRefused, match="sequence control 'begin', but model does not provide"):
        validate(control("begin", fp32_false_true=[0, 1]), graph)
    with pytest.raises(SignatureRefused, match=r"expects data-type TYPE_FP32 but .* TYPE_INT32"):
        validate(control("start", int32_false_true=[0, 1]), graph)
    wide = Graph(tensors(x=(-1, 16), start=(-1, 2)), tensors(y=(-1, 16)), {})
    with pytest.raises(SignatureRefused, match=r"has dims \[2\] but dims \[1\] is expected"):
        validate(control("start", fp32_false_true=[0, 1]), wide)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"batch_input": [{"kind": "BATCH_ELEMENT_COUNT"}]}, "batch_input"),
        ({"batch_output": [{"kind": "BATCH_SCATTER_WITH_INPUT_SHAPE"}]}, "batch_output"),
        ({"input": [entry("x", 16, allow_ragged_batch=True)]}, "input 'x': allow_ragged_batch"),
        ({"input": [entry("x", 16, is_shape_tensor=True)]}, "input 'x': is_shape_tensor"),
        ({"output": [entry("y", 16, is_shape_tensor=True)]}, "output 'y': is_shape_tensor"),
    ],
)
def test_what_only_the_cpp_backend_does_is_refused_by_the_name_of_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(FeatureMissing, match=f"does not support '{field}'") as raised:
        refuse_missing_features(config(**fields))
    assert raised.value.field == field


def test_flags_that_are_off_are_no_feature() -> None:
    refuse_missing_features(config(input=[entry("x", 16, allow_ragged_batch=False, is_shape_tensor=False)]))
