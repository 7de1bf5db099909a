import json
import math

import pytest

from python_backend.hybrid.errors import DtypeUnknown, RequestInvalid, SettingsInvalid
from python_backend.hybrid.preference import Preference
from python_backend.hybrid.settings import Wishes, read_settings, read_wishes


def config(**parameters):
    return {
        "name": "net",
        "max_batch_size": 8,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["4"]}, {"name": "i", "data_type": "TYPE_INT64"}],
        "output": [
            {"name": "y", "data_type": "TYPE_FP32", "dims": ["-1", "2"]},
            {"name": "served_by", "data_type": "TYPE_STRING", "dims": ["1"]},
        ],
        "parameters": {key: {"string_value": value} for key, value in parameters.items()},
    }


def test_everything_has_a_default():
    settings = read_settings(config())
    assert settings.models == {"onnx": "net_onnx", "original": "net_original"}
    assert settings.prefer == Preference((1,), ("onnx",))
    assert (settings.fallback_enabled, settings.max_concurrency, settings.max_fallbacks) == (True, 16, 8)
    assert (settings.deadline_s, settings.primary_budget_s) == (10.0, 5.0)
    assert settings.guarded_inputs == {"x"}
    assert list(settings.outputs) == ["y"]
    assert settings.outputs["y"].dims == (-1, 2)


def test_non_finite_values_can_be_allowed():
    settings = read_settings(config(allow_non_finite_inputs="x", allow_non_finite_outputs=" y "))
    assert settings.guarded_inputs == frozenset()
    assert not settings.outputs["y"].finite


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("prefer", "tensorrt", "parameter 'prefer' of the hybrid must be one of onnx, original, or ranges"),
        ("prefer", "2:onnx", "must be .* or ranges of rows that ascend from 1 such as .*, found '2:onnx'"),
        ("fallback_enabled", "yes", "must be one of true, false, found 'yes'"),
        ("deadline_ms", "soon", "must be a number of milliseconds up to an hour, found 'soon'"),
        ("deadline_ms", "0", "must be a number of milliseconds"),
        ("deadline_ms", "nan", "must be a number of milliseconds"),
        ("primary_budget_ms", "20000", "must be at most deadline_ms 10000, found '20000'"),
        ("max_concurrency", "0", "must be a whole number from 1 to 1024, found '0'"),
        ("max_concurrency", "2.5", "must be a whole number"),
        ("max_fallbacks", "0", "must be a whole number from 1 to 16, found '0'"),
        ("max_fallbacks", "17", "must be a whole number from 1 to 16, found '17'"),
        ("allow_non_finite_inputs", "z", "must be names out of i, x, found 'z'"),
        ("output_ranges", '{"z": [0, 1]}', r"must be a JSON object of \[low, high\] by name, names out of"),
        ("output_ranges", '{"y": [1, 0]}', "must be a JSON object"),
        ("output_ranges", '{"y": [0, NaN]}', "must be a JSON object"),
        ("output_ranges", '{"y": 1}', "must be a JSON object"),
        ("output_ranges", "0 to 1", "must be a JSON object"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(key, value, sentence):
    with pytest.raises(SettingsInvalid, match=sentence):
        read_settings(config(**{key: value}))


def test_an_output_has_the_range_that_is_written():
    assert read_settings(config()).outputs["y"].range is None
    assert read_settings(config(output_ranges='{"y": [-1, 1.5]}')).outputs["y"].range == (-1.0, 1.5)
    assert read_settings(config(output_ranges='{"y": [0.0, Infinity]}')).outputs["y"].range == (0.0, math.inf)


@pytest.mark.parametrize(
    ("max_batch_size", "said", "expected"), [(8, "32", 8), (8, "3", 3), (8, "", 8), (0, "32", 1), (0, "", 1)]
)
def test_no_call_is_joined_of_more_rows_than_a_twin_takes(max_batch_size, said, expected):
    found = read_settings({**config(max_joined_rows=said), "max_batch_size": max_batch_size})
    assert found.max_joined_rows == expected


def test_a_request_may_shorten_its_deadline_and_the_primarys_share_goes_with_it():
    settings = read_settings(config(deadline_ms="1000", primary_budget_ms="400"))
    assert read_wishes(settings, "", 0, 1) == read_wishes(settings, "null", 0, 1) == Wishes("onnx", 1.0, 0.4)
    half = '{"deadline_ms": "500"}'
    assert read_wishes(settings, half, 0, 1) == Wishes("onnx", 0.5, 0.2, half)
    more = '{"deadline_ms": 5000, "prefer": "original"}'
    assert read_wishes(settings, more, 0, 1) == Wishes("original", 1.0, 0.4, more)
    assert read_wishes(settings, "{}", 250_000, 1) == Wishes("onnx", 0.25, 0.1, "", 250_000)


@pytest.mark.parametrize("said", ["", '{"prefer": "auto"}', '{"deadline_ms": 500}'])
def test_a_request_that_names_no_twin_gets_the_one_for_its_rows(said):
    settings = read_settings(config(prefer="1:original,3:onnx"))
    assert [read_wishes(settings, said, 0, rows).prefer for rows in (1, 2, 3, 8)] == ["original"] * 2 + ["onnx"] * 2


@pytest.mark.parametrize("twin", ["onnx", "original"])
def test_a_request_that_names_a_twin_gets_it_whatever_its_rows(twin):
    settings = read_settings(config(prefer="1:original,3:onnx"))
    said = json.dumps({"prefer": twin})
    assert {read_wishes(settings, said, 0, rows).prefer for rows in (1, 2, 3, 8)} == {twin}


@pytest.mark.parametrize(
    "parameters", [{"deadline_ms": "x"}, {"deadline_ms": -1}, {"deadline_ms": "nan"}, {"prefer": "both"}]
)
def test_bad_wishes_are_the_callers_mistake(parameters):
    with pytest.raises(RequestInvalid, match="request parameter"):
        read_wishes(read_settings(config()), json.dumps(parameters), 0, 1)


def test_a_tensor_that_numpy_has_no_dtype_for_is_refused():
    broken = config()
    broken["output"][0]["data_type"] = "TYPE_BF16"
    with pytest.raises(DtypeUnknown, match=r"tensor 'y' must have one of the types TYPE_BOOL, .*, found TYPE_BF16"):
        read_settings(broken)
