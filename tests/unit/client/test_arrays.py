import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from understudy_client import TensorSpec
from understudy_client.arrays import ArrayFileError, head, random_inputs, read_inputs, write_outputs
from understudy_client.calls import Config, Metadata
from understudy_client.description import ModelDescription, check_inputs
from understudy_client.dtypes import NUMPY_DTYPES


def test_a_npy_is_one_array_and_a_npz_is_several(tmp_path: Path) -> None:
    one, two = tmp_path / "one.npy", tmp_path / "two.npz"
    np.save(one, np.arange(3))
    np.savez(two, x=np.zeros(2), y=np.array(["a"]))
    alone = read_inputs(str(one), [])
    assert isinstance(alone, np.ndarray)
    assert alone.tolist() == [0, 1, 2]
    several = read_inputs(str(two), [f"z={one}"])
    assert isinstance(several, dict)
    assert sorted(several) == ["x", "y", "z"]


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    one, two, text, pickled = (tmp_path / name for name in ("one.npy", "two.npz", "text.npy", "pickled.npy"))
    np.save(one, np.arange(3))
    np.savez(two, x=np.zeros(2))
    text.write_text("hello")
    np.save(pickled, np.array([None]), allow_pickle=True)
    for file, named, problem in (
        (str(tmp_path / "none.npy"), [], "cannot be read"),
        (str(tmp_path), [], "cannot be read"),
        (str(text), [], "no .npy or .npz"),
        (str(pickled), [], "without pickle"),
        (str(one), [f"x={one}"], "names no input"),
        (None, [f"x={two}"], "several arrays"),
        (None, ["x"], "no input and file"),
    ):
        with pytest.raises(ArrayFileError, match=problem):
            read_inputs(file, named)


@pytest.mark.parametrize(
    ("shape", "problem"),
    [(b"(3, 4), (", r"no \.npy or \.npz"), (b"(3, 9999999999999), }", "more than memory has room for")],
)
def test_a_npy_with_a_damaged_header_is_named(tmp_path: Path, shape: bytes, problem: str) -> None:
    """NumPy raises tokenize's errors as well, and takes the header's word for the size."""
    file = tmp_path / "one.npy"
    np.save(file, np.zeros((3, 4), np.float32))
    file.write_bytes(file.read_bytes().replace(b"(3, 4), }".ljust(30), shape.ljust(30)))
    with pytest.raises(ArrayFileError, match=problem):
        read_inputs(str(file), [])


def test_a_npz_with_damaged_values_is_named(tmp_path: Path) -> None:
    file = tmp_path / "one.npz"
    np.savez_compressed(file, x=np.random.default_rng(0).random((50, 40)).astype(np.float32))
    content = bytearray(file.read_bytes())
    # Behind the entry's header; deflate has no blocks of the third type.
    content[30 + int.from_bytes(content[26:28], "little") + int.from_bytes(content[28:30], "little")] |= 0b110
    file.write_bytes(content)
    with pytest.raises(ArrayFileError, match=r"no \.npy or \.npz"):
        read_inputs(str(file), [])


@pytest.mark.parametrize("datatype", [*NUMPY_DTYPES, "BF16"])
@pytest.mark.parametrize("batch", [0, 4])
def test_made_up_values_are_what_the_model_takes(datatype: str, batch: int) -> None:
    spec = TensorSpec("x", datatype, (-1, -1, 2))
    model = ModelDescription.of(Metadata("m", ("1",), (spec,), ()), Config(batch))
    made = random_inputs(model, rows=3, size=5, seed=1)
    (tensor,) = check_inputs(made, model).tensors
    assert tensor.array.shape == ((3, 5, 2) if batch else (5, 5, 2))
    again = random_inputs(model, rows=3, size=5, seed=1)
    assert made["x"].tobytes() == again["x"].tobytes() or datatype == "BYTES"


def test_outputs_load_again_without_pickle(tmp_path: Path) -> None:
    from tritonclient.utils import triton_to_np_dtype

    file = tmp_path / "out.npz"
    outputs = {
        "y": np.ones((2, 2), np.float16),
        "label": np.array([["ä".encode()], [b"b"]], dtype=object),
        "blob": np.array([b"\xff"], dtype=object),
        "brain": np.array([1.5], dtype=triton_to_np_dtype("BF16")),
        "none": np.array([], dtype=object),
    }
    write_outputs(str(file), outputs)
    with np.load(file, allow_pickle=False) as loaded:
        assert loaded["y"].dtype == np.float16
        assert loaded["label"].tolist() == [["ä"], ["b"]]
        assert loaded["blob"].tolist() == [b"\xff"]
        assert loaded["brain"].tolist() == [1.5]
        assert loaded["none"].shape == (0,)
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


@pytest.mark.parametrize("ends", [b"RIFF\x00\x00", b"\xff\x00", b"\x00"], ids=["text", "bytes", "zero"])
def test_strings_whose_last_bytes_a_npz_would_lose_are_refused(tmp_path: Path, ends: bytes) -> None:
    inside = np.array([[b"\x00a", b""]], dtype=object)
    write_outputs(str(tmp_path / "out.npz"), {"inside": inside})
    with np.load(tmp_path / "out.npz", allow_pickle=False) as loaded:
        assert loaded["inside"].tolist() == [["\x00a", ""]]
    with pytest.raises(ArrayFileError) as refused:
        write_outputs(str(tmp_path / "lost.npz"), {"y": np.ones(2), "blob": np.array([b"a", ends], dtype=object)})
    assert str(refused.value) == (
        f"{tmp_path / 'lost.npz'}: output 'blob' has strings that end in zero bytes, which a .npz does not keep; "
        "take them in Python, from HybridClient.predict."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


@pytest.mark.parametrize("end", [b"", b"\xff"], ids=["text", "bytes"])
def test_strings_that_the_longest_would_make_too_many_bytes_are_refused(tmp_path: Path, end: bytes) -> None:
    blobs = np.array([b"a" * 2**20 + end, *[b""] * 2**10], dtype=object)
    tracemalloc.start()
    try:
        with pytest.raises(
            ArrayFileError, match=r"'blob' would take [\d,]+ bytes, as a .npz makes every string as long"
        ):
            write_outputs(str(tmp_path / "out.npz"), {"blob": blobs})
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["file", "args", "kwds", "allow_pickle", "arr_0", "heads/boxes:0", "x.npy", "ä b"])
def test_an_output_may_have_any_name(tmp_path: Path, name: str) -> None:
    file = tmp_path / "out.npz"
    write_outputs(str(file), {name: np.arange(3), "y": np.ones(2)})
    read = read_inputs(str(file), [])
    assert isinstance(read, dict)
    assert {key: array.tolist() for key, array in read.items()} == {name: [0, 1, 2], "y": [1, 1]}
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def test_an_error_while_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        write_outputs(str(tmp_path / "out.npz"), {"y": np.ones(2)})
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ArrayFileError, match="cannot be written"):
        write_outputs(str(tmp_path / "none" / "out.npz"), {"y": np.ones(2)})
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(ArrayFileError, match="cannot be written"):
        write_outputs(str(target), {"y": np.ones(2)})
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_head_is_plain_values() -> None:
    assert head(np.arange(9).reshape(3, 3), 4) == [0, 1, 2, 3]
    assert head(np.array([np.nan, np.inf, 0.5], np.float32)) == ["nan", "inf", 0.5]
    assert head(np.array([b"a", b"\xff"], dtype=object)) == ["a", "\\xff"]
    assert head(np.array([True])) == [True]
