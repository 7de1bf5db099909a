import numpy as np
import pytest
from tritonclient.grpc import model_config_pb2, service_pb2

from loadtests.wire import Answer, Tolerance, decode, difference, encode, random_inputs


def config(max_batch_size=8, **inputs):
    made = model_config_pb2.ModelConfig(max_batch_size=max_batch_size)
    for name, (data_type, dims) in inputs.items():
        made.input.add(name=name, data_type=data_type, dims=dims)
    return made


def reply(**outputs):
    """The bytes of a server's answer; the protocol packs requests and answers alike."""
    request = service_pb2.ModelInferRequest.FromString(encode("m", outputs))
    response = service_pb2.ModelInferResponse(model_name="m", raw_output_contents=request.raw_input_contents)
    for tensor in request.inputs:
        response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    return response.SerializeToString()


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32"]
)
def test_every_dtype_survives_the_wire(dtype):
    array = np.array([[0, 1, 1]], dtype)
    found = decode(reply(x=array)).outputs["x"]
    assert found.dtype == array.dtype
    assert (found == array).all()


def test_strings_survive_the_wire():
    array = np.array([[b"a", b""], [b"longer", b"\x00\xff"]], object)
    assert decode(reply(x=array)).outputs["x"].tolist() == array.tolist()


def test_a_request_names_its_model_and_asks_for_every_output():
    request = service_pb2.ModelInferRequest.FromString(encode("net", {"x": np.zeros((1, 2), np.float32)}))
    assert (request.model_name, len(request.outputs)) == ("net", 0)
    assert (request.inputs[0].name, request.inputs[0].datatype, list(request.inputs[0].shape)) == ("x", "FP32", [1, 2])


def test_inputs_fit_the_configuration_and_the_same_seed_gives_the_same():
    made = config(
        x=(model_config_pb2.TYPE_FP32, [3, -1]),
        n=(model_config_pb2.TYPE_INT64, [2]),
        t=(model_config_pb2.TYPE_STRING, [1]),
    )
    inputs = random_inputs(made, seed=1)
    assert {name: (a.shape, a.dtype) for name, a in inputs.items()} == {
        "x": ((1, 3, 1), np.dtype(np.float32)),
        "n": ((1, 2), np.dtype(np.int64)),
        "t": ((1, 1), np.dtype(object)),
    }
    assert np.array_equal(inputs["x"], random_inputs(made, seed=1)["x"])


def test_a_model_that_does_not_batch_gets_no_batch_dimension_and_optional_inputs_are_left_out():
    made = config(0, x=(model_config_pb2.TYPE_FP64, [4]), y=(model_config_pb2.TYPE_FP64, [4]))
    made.input[1].optional = True
    assert {name: a.shape for name, a in random_inputs(made, seed=0).items()} == {"x": (4,)}


def test_who_answered_is_told_apart_from_the_outputs():
    answer = decode(reply(y=np.ones((2, 1), np.float32), served_by=np.array([[b"onnx"], [b"original"]], object)))
    assert answer.served_by == {"onnx", "original"}
    assert set(answer.outputs) == {"y"}


GOLDEN = Answer({"y": np.array([[1.0, np.nan]], np.float32)}, frozenset())


@pytest.mark.parametrize(
    ("outputs", "served_by", "told"),
    [
        ({"y": np.array([[1.000001, np.nan]], np.float32)}, {"onnx"}, None),
        ({"y": np.array([[1.1, np.nan]], np.float32)}, {"onnx"}, "differs"),
        ({"y": np.array([[1.0, 0.0]], np.float32)}, {"onnx"}, "differs"),
        ({"y": np.array([[1.0, np.nan]], np.float64)}, {"onnx"}, "float64"),
        ({"y": np.array([1.0, np.nan], np.float32)}, {"onnx"}, "float32[2]"),
        ({"z": np.zeros(1)}, {"onnx"}, "outputs ['z']"),
        ({"y": GOLDEN.outputs["y"]}, {"onnx", "original"}, "answered by ['onnx', 'original']"),
        ({"y": GOLDEN.outputs["y"]}, set(), "answered by []"),
    ],
)
def test_a_wrong_answer_is_told(outputs, served_by, told):
    found = difference(Answer(outputs, frozenset(served_by)), GOLDEN, Tolerance(1e-5, 1e-5), "onnx")
    assert (found is None) if told is None else (told in found)


def told(found, golden, tolerance):
    return difference(Answer({"y": found}, frozenset()), Answer({"y": golden}, frozenset()), tolerance, None)


def test_strings_must_be_equal():
    tolerance = Tolerance(1.0, 1.0)
    assert told(np.array([b"a"], object), np.array([b"a"], object), tolerance) is None
    assert "differs" in told(np.array([b"b"], object), np.array([b"a"], object), tolerance)


@pytest.mark.parametrize(
    ("found", "golden", "tolerance", "right"),
    [
        (9e-5, 0.0, Tolerance(1e-4, 1e-3), True),
        (9e-4, 0.0, Tolerance(1e-4, 1e-3), False),  # rtol is of the value
        (1000.9, 1000.0, Tolerance(1e-4, 1e-3), True),
        (1.5, 0.0, Tolerance(0.0, 0.0, {"y": 2.0}), True),
        (1.5, 0.0, Tolerance(0.0, 0.0, {"z": 2.0}), False),
    ],
)
def test_what_is_absolute_and_what_is_of_the_value_are_told_apart(found, golden, tolerance, right):
    said = told(np.array([found], np.float32), np.array([golden], np.float32), tolerance)
    assert (said is None) is right


def test_whole_numbers_are_held_to_the_absolute_part_alone():
    found, golden = np.array([1001]), np.array([1000])
    assert "by more than 0.5 + 0.1 of the value" in told(found, golden, Tolerance(0.5, 0.1))
    assert told(found, golden, Tolerance(1.0, 0.0)) is None


def test_answers_that_are_wrong_alike_are_told_in_the_same_words():
    golden = np.zeros(1, np.float32)
    said = {told(np.full(1, by, np.float32), golden, Tolerance(1e-4, 1e-3)) for by in (1, 2, np.nan)}
    assert len(said) == 1
