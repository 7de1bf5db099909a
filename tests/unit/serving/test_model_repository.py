"""Which models there are, and in which order they load."""

import re
from pathlib import Path

import pytest

from serving.errors import RepositoryError, UsageError
from serving.repository import ServedModel, dangling, load_stages, processes_of, read_repository

HYBRID = """
backend: "python"
parameters { key: "primary_model" value { string_value: "net_onnx" } }
parameters { key: "fallback_model" value { string_value: "net_original" } }
"""


def write(repository: Path, **configs: str) -> Path:
    for name, text in configs.items():
        (repository / name).mkdir()
        (repository / name / "config.pbtxt").write_text(text)
    return repository


def test_a_hybrid_is_known_by_the_models_it_calls(tmp_path: Path) -> None:
    (tmp_path / "no_config").mkdir()
    models, _ = read_repository(write(tmp_path, net=HYBRID, net_onnx='backend: "onnxruntime"', old='platform: "x_y"'))
    assert models == {
        "net": ServedModel("net", "python", ("net_onnx", "net_original")),
        "net_onnx": ServedModel("net_onnx", "onnxruntime", (), 2),
        "old": ServedModel("old", "x_y", ()),
    }


@pytest.mark.parametrize(
    ("text", "instances"),
    [
        ("", 1),
        ("instance_group { kind: KIND_CPU count: 3 }", 3),
        ("instance_group { kind: KIND_CPU }", 1),
        ("instance_group { count: 2 gpus: [0, 1] } instance_group { kind: KIND_CPU count: 1 }", 5),
        ("instance_group { count: 2 } version_policy { specific { versions: [1, 3] } }", 4),
        ("instance_group { count: 2 } version_policy { all {} }", 6),
        ("instance_group { count: 2 } version_policy { latest { num_versions: 2 } }", 4),
        ("instance_group { count: 2 } version_policy { latest { num_versions: 9 } }", 6),
    ],
)
def test_the_instances_of_all_versions_that_are_served_are_counted(tmp_path: Path, text: str, instances: int) -> None:
    write(tmp_path, net=f'backend: "python" {text}')
    for name in ("1", "2", "3", "notes"):
        (tmp_path / "net" / name).mkdir()
    assert read_repository(tmp_path)[0]["net"].instances == instances


def test_a_switch_adds_the_processes_of_one_hybrid_and_its_twins() -> None:
    models = [
        ServedModel("a", "python", ("a_onnx", "a_original"), 2),
        ServedModel("a_onnx", "onnxruntime", (), 4),
        ServedModel("a_original", "python", (), 1),
        ServedModel("b", "python", ("not_loaded",), 5),
        ServedModel("c", "tensorrt", (), 50),
    ]
    assert processes_of(models, {"python", "onnxruntime"}) == (12, 7)
    assert processes_of(models, {"python"}) == (8, 5)
    assert processes_of([], {"python"}) == (0, 0)


def test_twins_load_before_the_hybrids_that_call_them() -> None:
    models = {
        "a": ServedModel("a", "python", ("a_onnx", "a_original")),
        "a_onnx": ServedModel("a_onnx", "onnxruntime", ()),
        "a_original": ServedModel("a_original", "python", ()),
        "b": ServedModel("b", "python", ("b_onnx",)),
    }
    assert load_stages(models, None) == [["a_onnx", "a_original"], ["a", "b"]]
    assert load_stages(models, ["a", "a_onnx"]) == [["a_onnx"], ["a"]]
    assert load_stages(models, ["a_onnx"]) == [["a_onnx"]]
    assert load_stages(models, []) == []


def test_a_name_without_config_is_left_to_triton_which_may_complete_it() -> None:
    assert load_stages({}, ["auto"]) == [["auto"]]


def test_a_name_that_is_wanted_twice_is_usage() -> None:
    with pytest.raises(UsageError, match="twice is named more than once"):
        load_stages({}, ["twice", "once", "twice"])


def test_a_config_that_does_not_parse_names_file_and_place_and_leaves_the_others_readable(tmp_path: Path) -> None:
    models, broken = read_repository(write(tmp_path, net='bakend: "python"', other='backend: "python"'))
    assert list(models) == ["other"]
    assert re.search(r"net/config\.pbtxt: not a model configuration \(1:1 .*bakend", str(broken["net"]))


def test_a_config_that_is_no_file_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "net" / "config.pbtxt").mkdir(parents=True)
    models, broken = read_repository(tmp_path)
    assert models == {}
    assert "net/config.pbtxt: cannot be read (Is a directory)" in str(broken["net"])


def test_a_missing_repository_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match=r"no such directory; publish a model first"):
        read_repository(tmp_path / "absent")


def test_links_to_nothing_are_found(tmp_path: Path) -> None:
    write(tmp_path, net="").joinpath("link").symlink_to("net")
    assert dangling(tmp_path) == []
    (tmp_path / ".#net").symlink_to("somebody@host.1:2")
    assert dangling(tmp_path) == [tmp_path / ".#net"]
