import math
from pathlib import Path

import pytest

from conversion.errors import UnknownKey, WrongValue
from conversion.spec import ModelSpec, ParitySpec, ToleranceSpec
from conversion.spec.reader import read_spec
from conversion.spec.serving import GpuSpec


def write(folder: Path, text: str) -> ModelSpec:
    folder.mkdir(exist_ok=True)
    (folder / "model.toml").write_text(text)
    return read_spec(folder)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("net.h5", "keras"),
        ("net.keras", "keras"),
        ("folder", "saved_model"),
        ("net.pt", "torchscript"),
        ("net.pt2", "exported_program"),
    ],
)
def test_the_artefacts_name_tells_its_format(tmp_path, path, kind):
    inputs = 'inputs = [{ name = "x", dtype = "float32", shape = ["batch", 4] }]\n'
    spec = write(tmp_path, f'{inputs}[source]\npath = "{path}"\n')
    assert spec.source.format == kind


def test_a_folder_with_a_dot_in_its_name_is_a_saved_model(tmp_path):
    (tmp_path / "net.v1.0").mkdir()
    assert write(tmp_path, '[source]\npath = "net.v1.0"\n').source.format == "saved_model"


@pytest.mark.parametrize("factory", ["my net.py:build", "../größe (2).py:Net.build", "package.module:build"])
def test_a_factorys_file_may_have_any_name_but_one_with_a_colon(tmp_path, factory):
    inputs = 'inputs = [{ name = "x", dtype = "float32", shape = ["batch", 4] }]\n'
    assert write(tmp_path, f'{inputs}[source]\nfactory = "{factory}"\n').source.factory == factory


def test_a_byte_order_mark_is_no_part_of_the_spec(tmp_path):
    assert write(tmp_path, '\ufeff[source]\npath = "net.keras"\n').source.path == "net.keras"


def test_a_spec_of_two_lines_has_a_default_for_everything_else(tmp_path):
    spec = write(tmp_path / "speech", '[source]\npath = "net.keras"\n')
    assert spec.name == "speech"
    assert spec.folder == tmp_path / "speech"
    assert (spec.parity.atol, spec.parity.rtol) == (1e-4, 1e-3)
    assert spec.exporters == ("tf2onnx",)


def test_a_model_is_where_its_spec_is_named_not_where_a_link_leads(tmp_path):
    for name in ("store", "speech"):
        (tmp_path / name).mkdir()
    (tmp_path / "store" / "0badc0de").write_text('[source]\npath = "net.keras"\n')
    (tmp_path / "speech" / "model.toml").symlink_to("../store/0badc0de")
    (tmp_path / "linked").symlink_to("speech")
    for place in ("speech", "speech/model.toml", "store/../speech", "linked"):
        spec = read_spec(tmp_path / place)
        assert (spec.name, spec.folder) == ("speech", tmp_path / "speech")


def test_named_dimensions_and_ranges_are_kept(tmp_path):
    spec = write(
        tmp_path,
        '[source]\nfactory = "net.py:build"\n'
        '[[inputs]]\nname = "x"\ndtype = "int64"\nshape = ["batch", "time", 3]\nrange = [0, 9]\n',
    )
    assert spec.inputs[0].shape == ("batch", "time", 3)
    assert spec.inputs[0].range == (0.0, 9.0)
    assert spec.exporters == ("dynamo", "torchscript")


@pytest.mark.parametrize(("text", "expected"), [("[0, inf]", (0.0, math.inf)), ("[-inf, 1.5]", (-math.inf, 1.5))])
def test_the_range_of_an_output_may_be_open_at_one_end(tmp_path, text, expected):
    spec = write(tmp_path, f'outputs = [{{ name = "y", range = {text} }}]\n[source]\npath = "net.keras"\n')
    assert spec.outputs[0].range == expected


@pytest.mark.parametrize(
    ("largest", "expected"), [(32, (1, 2, 7, 32)), (1, (1,)), (2, (1, 2)), (7, (1, 2, 7)), (0, (1,))]
)
def test_parity_is_shown_at_one_two_an_odd_one_and_the_maximum(tmp_path, largest, expected):
    spec = write(tmp_path, f'[source]\npath = "net.keras"\n[serving]\nmax_batch_size = {largest}\n')
    assert spec.batch_sizes == expected


def test_the_gpu_settings_are_read_and_are_cudas_by_default(tmp_path):
    given = '[source]\npath = "net.keras"\n'
    assert write(tmp_path, given).serving.gpu == GpuSpec("cuda", "fp32", 1 << 30, "")
    table = (
        '[serving.gpu]\naccelerator = "tensorrt"\nprecision = "fp16"\nworkspace_bytes = 9\nengine_cache = "/engines"\n'
    )
    assert write(tmp_path, given + table).serving.gpu == GpuSpec("tensorrt", "fp16", 9, "/engines")
    table = "[serving.gpu]\ncuda_graphs = false\n"
    assert write(tmp_path, given + table).serving.gpu == GpuSpec(cuda_graphs=False)


def test_the_specs_of_this_repository_are_valid():
    folders = sorted(path.parent for path in Path("models").glob("*/model.toml"))
    assert {read_spec(folder).name for folder in folders} >= {"basic_pitch", "efficientnet_lite0"}


def test_a_target_opens_the_opsets_that_it_reads(tmp_path):
    text = '[source]\npath = "net.keras"\n[export]\nopset = 26\n'
    assert write(tmp_path, f'target = "26.08"\n{text}').export.opset == 26
    with pytest.raises(WrongValue, match=r"between 13 and 25, the highest that Triton 26\.06"):
        write(tmp_path, f'target = "26.06"\n{text}')


def test_a_target_that_is_asked_for_takes_the_place_of_the_specs_own(tmp_path):
    write(tmp_path, 'target = "26.08"\n[source]\npath = "net.keras"\n')
    assert read_spec(tmp_path).target == "26.08"
    assert read_spec(tmp_path, "25.01").target == "25.01"


def test_how_a_twin_is_served_is_open_unless_the_spec_says_it(tmp_path):
    text = '[source]\npath = "net.keras"\n'
    serving = write(tmp_path, text).serving
    assert (serving.instances, serving.threads, serving.dynamic_batching) == (None, None, None)
    serving = write(tmp_path, f"{text}[serving]\ninstances = 1\nthreads = 3\ndynamic_batching = false\n").serving
    assert (serving.instances, serving.threads, serving.dynamic_batching) == (1, 3, False)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("dynamic_batching = 1", "'serving.dynamic_batching' must be true or false, found 1"),
        ("threads = false", "'serving.threads' must be a whole number, found False"),
        ("instances = 0", "'serving.instances' must be between 1 and 1024, found 0"),
    ],
)
def test_what_may_be_left_out_is_checked_where_it_is_said(tmp_path, line, told):
    with pytest.raises(WrongValue, match=told):
        write(tmp_path, f'[source]\npath = "net.keras"\n[serving]\n{line}\n')


@pytest.mark.parametrize(("largest", "expected"), [(32, 16), (16, 16), (8, 8), (0, 1)])
def test_rows_that_were_tuned_for_larger_batches_are_joined_up_to_the_maximum_that_is_left(tmp_path, largest, expected):
    text = f'[source]\npath = "net.keras"\n[serving]\nmax_batch_size = {largest}\n'
    tuned = "[serving.tuned]\ninstances = 1\nthreads = 2\nmax_joined_rows = 16\n"
    assert write(tmp_path, text + tuned).serving.max_joined_rows == expected


def test_on_a_gpu_other_precisions_are_tried_and_batches_are_taken_whole(tmp_path):
    text = '[source]\npath = "net.keras"\n[accuracy]\nitems = 50\n'
    cpu = write(tmp_path, text)
    assert (cpu.search.profile, cpu.precisions, cpu.microbatches) == ("cpu", ("fp32", "int8"), (2, 4, 16))
    gpu = read_spec(tmp_path, profile="gpu")
    assert (gpu.search.profile, gpu.precisions, gpu.microbatches) == ("gpu", ("fp32", "tf32", "fp16"), ())
    write(tmp_path, '[source]\npath = "net.keras"\n[search]\nprofile = "gpu"\n')
    assert read_spec(tmp_path).precisions == ("fp32",), "nothing says what answers are worth"
    assert read_spec(tmp_path, profile="cpu").search.profile == "cpu"


def test_accuracy_is_stated_by_its_defaults_too(tmp_path):
    source = '[source]\npath = "net.keras"\n'
    assert write(tmp_path, source).precisions == ("fp32",)
    for stated in ("[accuracy]\n", "[accuracy]\nmax_loss = 0.001\n", "[accuracy]\nmax_loss = 0.0011\n"):
        assert write(tmp_path, source + stated).precisions == ("fp32", "int8")
    with pytest.raises(UnknownKey, match=r"unknown key 'accuracy\.stated'"):
        write(tmp_path, f"{source}[accuracy]\nstated = false\n")
    with pytest.raises(WrongValue, match="'accuracy' must be left out for a model without rows"):
        write(tmp_path, f"{source}[accuracy]\nmax_loss = 0.001\n[serving]\nmax_batch_size = 0\n")


def test_a_tolerance_that_is_given_in_part_keeps_the_rest_of_its_own_defaults(tmp_path):
    text = '[source]\npath = "net.keras"\n[parity]\nrtol = 0.1\nint8 = { atol = 0.1 }\nfp16 = { of_largest = 0.02 }\n'
    parity = write(tmp_path, text).parity
    assert (parity.atol, parity.rtol, parity.of_largest) == (1e-4, 0.1, 0.0)
    assert parity.int8 == ToleranceSpec(atol=0.1, rtol=0.05, of_largest=0.1)
    assert parity.fp16 == ToleranceSpec(atol=0.01, rtol=0.01, of_largest=0.02)


def test_the_folder_is_where_the_file_lies_and_no_key(tmp_path):
    with pytest.raises(UnknownKey, match="unknown key 'folder'"):
        write(tmp_path, 'folder = "elsewhere"\n[source]\npath = "net.keras"\n')


def test_of_the_precisions_that_a_spec_names_each_profile_takes_its_own(tmp_path):
    write(tmp_path, '[source]\npath = "net.keras"\n[search]\nprecisions = ["fp32", "int8", "fp16"]\n')
    found = {profile: read_spec(tmp_path, profile=profile).precisions for profile in ("cpu", "gpu")}
    assert found == {"cpu": ("fp32", "int8"), "gpu": ("fp32", "fp16")}


@pytest.mark.parametrize(("precision", "same_as"), [("tf32", "fp16"), ("int8_dynamic", "int8")])
def test_what_keeps_as_many_bits_has_the_same_tolerance(precision, same_as):
    parity = ParitySpec()
    assert parity.tolerance(precision) == getattr(parity, same_as) != parity.tolerance("fp32")


def test_a_factory_is_not_given_dates_which_its_bundle_could_not_hold(tmp_path):
    inputs = 'inputs = [{ name = "x", dtype = "float32", shape = ["batch", 4] }]\n'
    text = inputs + '[source]\nfactory = "net.py:build"\narguments = {}\n'
    given = '{ a = "2024-01-01", b = [1, 2.5, true], c = { d = inf } }'
    arguments = {"a": "2024-01-01", "b": [1, 2.5, True], "c": {"d": float("inf")}}
    assert write(tmp_path, text.replace("{}", given)).source.arguments == arguments
    for wrong, key in (("{ a = 2024-01-01 }", "a"), ("{ a = { b = [1, 07:30:00] } }", r"a\.b\[1\]")):
        told = (
            rf"'source\.arguments\.{key}' must be a string, a number, true or false, a list or a table, found datetime"
        )
        with pytest.raises(WrongValue, match=told):
            write(tmp_path, text.replace("{}", wrong))
