import os
from dataclasses import replace

import pytest

from conversion.errors import PublishError
from conversion.interface import Facts
from conversion.release.pbtxt import (
    interface_difference,
    layout_difference,
    model_configs,
    pinned,
    read_config,
    replace_file,
    write_config,
)
from conversion.spec import OutputSpec
from conversion.spec.serving import ServingSpec
from python_backend.hybrid.preference import read_preference
from python_backend.integrity import pins

IMAGE = Facts("image", "float32", ("batch", 3, "height", "width"))
LABEL = Facts("label", "string", ("batch",))


@pytest.fixture
def configs(spec):
    return model_configs(spec, [IMAGE], [LABEL])


def test_dynamic_dimensions_become_minus_one_and_the_batch_is_left_out(configs):
    for config in configs.values():
        assert list(config.input[0].dims) == [3, -1, -1]
        assert config.max_batch_size == 32


def test_a_scalar_a_row_is_reshaped_for_the_twins_and_handed_on_by_the_hybrid(configs):
    for role, config in configs.items():
        assert list(config.output[0].dims) == [1]
        assert config.output[0].HasField("reshape") == (role != "hybrid")


def test_the_hybrid_says_who_served(configs):
    assert [output.name for output in configs["hybrid"].output] == ["label", "served_by"]
    assert [output.name for output in configs["onnx"].output] == ["label"]


def test_the_python_runtime_is_never_forced_upon_the_onnx_twin(configs):
    assert configs["onnx"].backend == "onnxruntime"
    assert configs["onnx"].runtime == ""


def test_the_hybrid_knows_the_ranges_of_the_outputs_that_have_one(spec):
    facts = [Facts(name, "float32", ("batch", 4)) for name in ("scores", "odds")]
    outputs = (OutputSpec("scores"), OutputSpec("odds", (0.0, 1.0)))
    parameters = model_configs(replace(spec, outputs=outputs), [IMAGE], facts)["hybrid"].parameters
    assert parameters["output_ranges"].string_value == '{"odds": [0.0, 1.0]}'
    plain = model_configs(replace(spec, outputs=()), [IMAGE], facts)["hybrid"].parameters
    assert "output_ranges" not in plain


@pytest.mark.parametrize(("deadline", "budget", "expected"), [(10000, 0, "5000"), (900, 0, "450"), (900, 300, "300")])
def test_the_primary_gets_half_the_deadline_unless_the_spec_says_otherwise(spec, deadline, budget, expected):
    serving = ServingSpec(deadline_ms=deadline, primary_budget_ms=budget)
    config = model_configs(replace(spec, serving=serving), [IMAGE], [LABEL])["hybrid"]
    assert config.parameters["primary_budget_ms"].string_value == expected
    assert config.parameters["deadline_ms"].string_value == str(deadline)


@pytest.mark.parametrize(
    ("serving", "twin_batches", "joined"),
    [
        (ServingSpec(max_batch_size=8), True, "8"),
        (ServingSpec(max_batch_size=8, dynamic_batching=False), False, "1"),
        (ServingSpec(max_batch_size=8, dynamic_batching=False, max_joined_rows=2), False, "2"),
        (ServingSpec(max_batch_size=0), False, "1"),
    ],
)
def test_requests_share_calls_only_where_the_spec_says_so(spec, serving, twin_batches, joined):
    made = model_configs(replace(spec, serving=serving), [IMAGE], [LABEL])
    assert made["onnx"].HasField("dynamic_batching") == twin_batches
    assert made["hybrid"].parameters["max_joined_rows"].string_value == joined


@pytest.mark.parametrize(("batching", "calls"), [(False, "3"), (True, "16")])
def test_calls_wait_for_company_beyond_the_twins_instances_unless_its_own_queue_joins_them(spec, batching, calls):
    serving = ServingSpec(instances=3, dynamic_batching=batching)
    made = model_configs(replace(spec, serving=serving), [IMAGE], [LABEL])["hybrid"]
    assert made.parameters["eager_calls"].string_value == calls
    assert not made.HasField("dynamic_batching"), "a queue of Triton's would wait a second time"


@pytest.mark.parametrize(("processes", "calls", "fallbacks"), [(1, "3", "6"), (2, "2", "3"), (8, "1", "1")])
def test_the_processes_of_the_hybrid_share_the_twins_instances_out(spec, processes, calls, fallbacks):
    serving = ServingSpec(instances=3, dynamic_batching=False, hybrid_instances=processes)
    made = model_configs(replace(spec, serving=serving), [IMAGE], [LABEL])["hybrid"]
    assert made.instance_group[0].count == processes
    found = [made.parameters[key].string_value for key in ("eager_calls", "max_fallbacks", "max_pending")]
    assert found == [calls, fallbacks, "640"]


def test_only_who_asks_for_a_delay_gets_a_queue_of_tritons_before_the_hybrid(spec):
    serving = ServingSpec(max_queue_delay_microseconds=700)
    made = model_configs(replace(spec, serving=serving), [IMAGE], [LABEL])["hybrid"]
    assert made.dynamic_batching.max_queue_delay_microseconds == 700


@pytest.mark.parametrize(
    ("prefer", "ratios", "expected"),
    [
        ("auto", {}, "onnx"),
        ("auto", {1: 0.9, 10: 1.5}, "1:original,4:onnx"),
        ("original", {1: 2.0}, "original"),
        ({"1-8": "original"}, {}, "1:original,9:onnx"),
    ],
)
def test_the_hybrid_is_told_whom_to_ask_first(spec, prefer, ratios, expected):
    made = model_configs(replace(spec, serving=ServingSpec(prefer=prefer)), [IMAGE], [LABEL], ratios)["hybrid"]
    assert made.parameters["prefer"].string_value == expected
    assert read_preference(expected).twin(1) in ("onnx", "original"), "the hybrid can read it"


def test_without_a_batch_the_first_dimension_stays(spec):
    made = model_configs(replace(spec, serving=ServingSpec(max_batch_size=0)), [Facts("x", "int64", (5,))], [LABEL])
    assert list(made["onnx"].input[0].dims) == [5]
    assert not made["onnx"].HasField("dynamic_batching")


def test_a_written_config_is_read_back_the_same(configs, tmp_path):
    write_config(configs["hybrid"], tmp_path / "config.pbtxt")
    assert read_config(tmp_path / "config.pbtxt") == configs["hybrid"]
    assert [path.name for path in tmp_path.iterdir()] == ["config.pbtxt"]


@pytest.mark.parametrize("versions", [(3,), (3, 10)])
def test_pins_stand_behind_the_own_text_and_are_read_by_who_loads_it(configs, tmp_path, versions):
    path = tmp_path / "config.pbtxt"
    write_config(configs["hybrid"], path)
    own = path.read_bytes()
    replace_file(pinned(own, versions), path)
    assert path.read_bytes().startswith(own)
    assert pins(path) == versions
    expected = configs["hybrid"]
    expected.version_policy.specific.versions.extend(versions)
    assert read_config(path) == expected


def test_a_broken_config_is_named(tmp_path):
    (tmp_path / "config.pbtxt").write_text("max_batch: 3")
    with pytest.raises(PublishError, match=r"config\.pbtxt is not a Triton model configuration"):
        read_config(tmp_path / "config.pbtxt")


def test_what_callers_would_find_changed_is_told(spec, configs):
    assert interface_difference(configs["hybrid"], configs["hybrid"]) is None
    other = model_configs(spec, [replace(IMAGE, dtype="uint8")], [LABEL])["hybrid"]
    told = interface_difference(configs["hybrid"], other)
    assert told == "input 'image' was TYPE_FP32 [3, -1, -1] and becomes TYPE_UINT8 [3, -1, -1]"
    assert layout_difference(configs["hybrid"], other) == told
    fewer = model_configs(spec, [IMAGE], [])["hybrid"]
    assert interface_difference(configs["hybrid"], fewer) == "output 'label' was TYPE_STRING [1] and becomes absent"


@pytest.mark.parametrize(
    ("rows", "callers", "layout"),
    [
        (32, None, None),
        (33, None, None),
        (31, "max_batch_size was 32 and becomes 31", None),
        (0, "max_batch_size was 32 and becomes 0", "max_batch_size was 32 and becomes 0"),
    ],
)
def test_fewer_rows_break_callers_but_one_configuration_serves_both(configs, rows, callers, layout):
    other = type(configs["hybrid"])()
    other.CopyFrom(configs["hybrid"])
    other.max_batch_size = rows
    assert interface_difference(configs["hybrid"], other) == callers
    assert layout_difference(configs["hybrid"], other) == layout


def test_what_replaces_a_file_is_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    path, synchronised = tmp_path / "config.pbtxt", []
    monkeypatch.setattr(
        "conversion.release.pbtxt.os.fsync", lambda file: synchronised.append((os.fstat(file).st_size, path.exists()))
    )
    replace_file(b"pins", path)
    assert synchronised == [(4, False)]
    assert path.read_bytes() == b"pins"
