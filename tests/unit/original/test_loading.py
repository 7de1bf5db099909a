import gc
import os
from contextlib import nullcontext

import numpy as np
import pytest

from python_backend.original.bundle import Bundle, Tensor, read_bundle, source_file
from python_backend.original.errors import ArtefactMissing, FactoryFailed, first_line
from python_backend.original.factory import find_callable
from python_backend.original.loading import Device, load, name_outputs, tensors_of


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (5, {"output": 5}),
        ([5], {"output": 5}),
        ((5, 6), {"output_0": 5, "output_1": 6}),
        ({"a": 5, "b": 6}, {"a": 5, "b": 6}),
        ({"a": (5, None, 6)}, {"a_0": 5, "a_2": 6}),
        ((5, {"b": 6}), {"output_0": 5, "output_1_b": 6}),
    ],
)
def test_outputs_without_names_get_some(raw, expected):
    assert name_outputs(raw, ()) == expected


def test_known_names_are_given_by_name_where_they_fit_and_by_position_else():
    known = (Tensor("b", "float32", (None,)), Tensor("a", "float32", (None,)))
    assert name_outputs({"a": 1, "b": 2, "c": 3}, known) == {"b": 2, "a": 1}
    assert name_outputs((7, 8), known) == {"b": 7, "a": 8}


def test_arrays_tell_of_themselves_with_a_dynamic_batch():
    arrays = {"x": np.zeros((2, 3), np.float16), "s": np.array([["a"]], object)}
    assert tensors_of(arrays) == (Tensor("x", "float16", (None, 3)), Tensor("s", "string", (None, 1)))


def test_a_bundle_reads_back_as_it_was_written(tmp_path):
    bundle = Bundle(
        format="torch_module",
        factory="net.py:build",
        arguments={"size": 3},
        weights=("w.pth",),
        inputs=(Tensor("x", "float32", (None, 4)),),
        outputs=(Tensor("y", "float32", (None, None)),),
    )
    bundle.write(tmp_path)
    assert read_bundle(tmp_path) == bundle


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ArtefactMissing, match=r"original\.json does not exist"):
        read_bundle(tmp_path)
    with pytest.raises(ArtefactMissing, match=r"net\.h5 does not exist"):
        source_file(tmp_path, "net.h5")


def test_a_callable_is_found_in_a_file_with_its_neighbours_and_in_a_package(tmp_path):
    (tmp_path / "maker_of_nets.py").write_text("import its_neighbour\n\nclass Nets:\n    build = its_neighbour.build\n")
    (tmp_path / "its_neighbour.py").write_text("def build():\n    return 5\n")
    assert find_callable("maker_of_nets.py:Nets.build", tmp_path)() == 5
    assert find_callable("os.path:join", tmp_path)("a", "b") == "a/b"


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("absent.py:build", "cannot be imported: FileNotFoundError"),
        ("no_such_package.x:build", "cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"),
        ("os.path:nothing", "cannot be imported: AttributeError"),
        ("os.path:sep", "is a str, not callable"),
    ],
)
def test_a_callable_that_is_not_there_is_explained(tmp_path, reference, sentence):
    with pytest.raises(FactoryFailed, match=sentence):
        find_callable(reference, tmp_path)


def test_the_first_line_that_says_something_is_kept():
    assert first_line(ValueError("\n\n  the reason\nand a page of context")) == "ValueError: the reason"
    assert first_line(KeyError()) == "KeyError"


@pytest.mark.parametrize(("said", "there"), [(None, "1"), ("0", "0")])
def test_torch_takes_memory_in_huge_pages_unless_somebody_says_otherwise(tmp_path, monkeypatch, said, there):
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", said or "")
    if said is None:
        monkeypatch.delenv("THP_MEM_ALLOC_ENABLE")
    Bundle(format="torchscript", path="net.pt").write(tmp_path)
    with pytest.raises(ArtefactMissing):
        load(tmp_path, Device())
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == there


@pytest.mark.parametrize("fails", [False, True])
def test_the_garbage_collector_rests_while_a_model_is_loaded_and_goes_on_also_where_that_fails(tmp_path, fails):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "net.py").write_text(
        "import gc\n"
        "from pathlib import Path\n"
        "import torch\n"
        "def build():\n"
        "    Path(__file__).with_name('collects').write_text(str(gc.isenabled()))\n"
        f"    return {'1 / 0' if fails else 'torch.nn.Identity()'}\n"
    )
    bundle = Bundle(
        format="torch_module",
        factory="net.py:build",
        inputs=(Tensor("x", "float32", (None, 4)),),
        outputs=(Tensor("y", "float32", (None, 4)),),
    )
    bundle.write(tmp_path)
    with pytest.raises(FactoryFailed) if fails else nullcontext():
        load(tmp_path, Device())
    assert (tmp_path / "source" / "collects").read_text() == "False"
    assert gc.isenabled()
