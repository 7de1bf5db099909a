"""The smallest request that a configuration allows."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import deserialize_bytes_tensor

from python_backend.strings import packed
from serving.probe import golden_inputs, probe_inputs


def config(text: str) -> Any:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_dynamic_dimensions_and_the_batch_become_one() -> None:
    (tensor,) = probe_inputs(config('max_batch_size: 8 input { name: "x" data_type: TYPE_FP16 dims: [-1, 3] }'))
    assert (tensor.name(), tensor.shape(), tensor.datatype()) == ("x", [1, 1, 3], "FP16")
    assert tensor._get_content() == bytes(6)


def test_without_a_batch_the_shape_is_the_written_one() -> None:
    (tensor,) = probe_inputs(config('input { name: "x" data_type: TYPE_INT64 dims: [2] }'))
    assert tensor.shape() == [2]
    assert np.frombuffer(tensor._get_content(), np.int64).tolist() == [0, 0]


def test_strings_are_empty_ones_and_optional_inputs_are_left_out() -> None:
    (tensor,) = probe_inputs(
        config(
            'input { name: "s" data_type: TYPE_STRING dims: [2] }'
            'input { name: "w" data_type: TYPE_FP32 dims: [2] optional: true }'
        )
    )
    assert deserialize_bytes_tensor(tensor._get_content()).tolist() == [b"", b""]


def test_the_first_golden_row_is_the_request(tmp_path: Path) -> None:
    rows, texts = np.arange(6, dtype=np.float32).reshape(3, 2), np.array([[b"a"], [b"bc"], [b""]])
    scalars = np.array([7, 8, 9], np.int64)
    np.savez(tmp_path / "golden.npz", **{"input/x": rows, "input/s": texts, "input/n": scalars, "output/y": rows})
    x, s, n = golden_inputs(
        config(
            'max_batch_size: 8 input { name: "x" data_type: TYPE_FP32 dims: [2] }'
            'input { name: "s" data_type: TYPE_STRING dims: [1] } input { name: "n" data_type: TYPE_INT64 dims: [1] }'
        ),
        tmp_path / "golden.npz",
    )
    assert (x.shape(), s.shape(), n.shape()) == ([1, 2], [1, 1], [1, 1])
    assert np.frombuffer(x._get_content(), np.float32).tolist() == [0, 1]
    assert deserialize_bytes_tensor(s._get_content()).tolist() == [b"a"]
    assert np.frombuffer(n._get_content(), np.int64).tolist() == [7]


def test_samples_of_another_model_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "golden.npz", **{"input/other": np.zeros(1)})
    with pytest.raises(ValueError, match="holds no samples of input 'x'"):
        golden_inputs(config('input { name: "x" data_type: TYPE_FP32 dims: [2] }'), tmp_path / "golden.npz")


def test_samples_that_were_changed_are_read_anew(tmp_path: Path) -> None:
    path, asked = (
        tmp_path / "golden.npz",
        config('max_batch_size: 8 input { name: "x" data_type: TYPE_INT64 dims: [1] }'),
    )
    for changed, value in enumerate((3, 3, 4), 1):
        np.savez(path, **{"input/x": np.full((2, 1), value)})
        os.utime(path, ns=(changed, changed))
        (x,) = golden_inputs(asked, path)
        assert np.frombuffer(x._get_content(), np.int64).tolist() == [value]


def test_strings_are_asked_for_whole_as_a_release_keeps_them(tmp_path: Path) -> None:
    texts = np.array([[b"ends in zeros\0\0"], [b"second"]], np.object_)
    np.savez(tmp_path / "golden.npz", **packed("input", {"s": texts}))
    (asked,) = golden_inputs(
        config('max_batch_size: 8 input { name: "s" data_type: TYPE_STRING dims: [1] }'), tmp_path / "golden.npz"
    )
    assert deserialize_bytes_tensor(asked._get_content()).tolist() == [b"ends in zeros\0\0"]


def test_strings_whose_lengths_are_not_those_of_their_bytes_are_no_samples(tmp_path: Path) -> None:
    damaged = {"input.lengths/s": np.array([[3]]), "input.bytes/s": np.zeros(2, np.uint8)}
    np.savez(tmp_path / "golden.npz", **damaged)
    asked = config('max_batch_size: 8 input { name: "s" data_type: TYPE_STRING dims: [1] }')
    with pytest.raises(ValueError, match="are not those of their bytes"):
        golden_inputs(asked, tmp_path / "golden.npz")


@pytest.mark.parametrize("damage", ["empty", "cut", "overwritten", "an array alone"])
def test_a_file_of_samples_that_is_damaged_is_told_as_one_that_holds_none(tmp_path: Path, damage: str) -> None:
    """The watch passes over such a file, and has to look after all models."""
    path = tmp_path / "golden.npz"
    np.savez_compressed(path, **{"input/x": np.arange(4000, dtype=np.float32).reshape(2000, 2)})
    content = path.read_bytes()
    damaged = {
        "empty": b"",
        "cut": content[: len(content) // 2],
        "overwritten": content[:200] + bytes(100) + content[300:],
    }
    if damage in damaged:
        path.write_bytes(damaged[damage])
    else:
        with path.open("wb") as file:
            np.save(file, np.zeros(2))
    asked = config('max_batch_size: 8 input { name: "x" data_type: TYPE_FP32 dims: [2] }')
    with pytest.raises(ValueError, match=r"golden\.npz holds no samples"):
        golden_inputs(asked, path)
