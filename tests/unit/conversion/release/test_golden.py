"""Which rows a release carries, and that they come back as they were."""

import numpy as np
import pytest

from conversion.errors import PublishError
from conversion.proof.parity import Case
from conversion.release.golden import golden_case, read_golden, write_golden
from python_backend.strings import packed, packed_size


def case(rows, width=3, seed=0):
    x = np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)
    return Case({"x": x}, run({"x": x}))


def run(batch):
    return {"y": batch["x"] * 2}


def never(batch):
    raise AssertionError("the original was asked for nothing")


def test_the_largest_case_of_at_most_four_rows_is_kept():
    cases = [case(rows) for rows in (1, 2, 7, 32)]
    assert golden_case(cases, True, never) is cases[1]


def test_of_large_cases_four_rows_are_asked_again():
    kept = golden_case([case(64), case(7)], True, run)
    assert kept.rows == 4
    np.testing.assert_array_equal(kept.expected["y"], kept.inputs["x"] * 2)


def test_wide_rows_are_cut_to_eight_megabytes():
    wide = 500_000  # 4 MB a row with its answer
    assert golden_case([case(1, wide), case(2, wide), case(3, wide)], True, never).rows == 2
    assert golden_case([case(8, wide)], True, run).rows == 2


def test_one_row_is_kept_whatever_its_size():
    assert golden_case([case(3, 3_000_000)], True, run).rows == 1


def test_without_a_batch_the_smallest_case_is_taken_whole():
    cases = [case(16), case(7)]
    assert golden_case(cases, False, never) is cases[1]


STRINGS = np.array([[b"a", b""], ["ünï".encode(), b"long enough"]], object)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float16).reshape(2, 3),
        np.array([np.nan, np.inf, -0.0]),
        np.array([[True], [False]]),
        np.array(5, np.int64),
        np.zeros((0, 3), np.uint8),
        STRINGS,
        np.array([b"nothing lost\0\0", b"\0", b""], object),
        np.array([b"long" * 1000, *[b"s"] * 99], object).reshape(10, 10),
        np.array(b"alone\0", object),
        np.zeros((2, 0), object),
    ],
)
def test_arrays_come_back_as_they_were(tmp_path, array):
    write_golden(Case({"in:0/x": array}, {"y": array, "z": array}), tmp_path / "golden.npz")
    found = read_golden(tmp_path / "golden.npz")
    assert found.inputs.keys() == {"in:0/x"}
    assert found.expected.keys() == {"y", "z"}
    for got in (*found.inputs.values(), *found.expected.values()):
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)


def test_texts_are_stored_without_a_pickle(tmp_path):
    texts = np.array(["ünï", "b"])
    write_golden(Case({"x": texts.astype(object)}, {"y": texts}), tmp_path / "golden.npz")
    with np.load(tmp_path / "golden.npz", allow_pickle=False) as archive:
        assert archive["input/x"].dtype.kind == archive["output/y"].dtype.kind == "S"
    assert list(read_golden(tmp_path / "golden.npz").expected["y"]) == ["ünï".encode(), b"b"]


def test_strings_take_the_room_that_they_need():
    """One of 20 MB among 3,000 would be 60 GB if all had its width."""
    long = np.array([b"x" * 20_000_000, *[b""] * 2999], object)
    assert packed_size({"x": long}) == 20_000_000 + 8 * 3000
    assert sum(array.nbytes for array in packed("input", {"x": long}).values()) == packed_size({"x": long})


def test_texts_of_one_width_are_read_as_older_releases_have_them(tmp_path):
    np.savez(tmp_path / "golden.npz", **{"input/x": np.array([["ünï".encode(), b"b"]]), "output/y": np.zeros(1)})
    assert read_golden(tmp_path / "golden.npz").inputs["x"].tolist() == [["ünï".encode(), b"b"]]


@pytest.mark.parametrize(
    "damage",
    [{"input.bytes/x": np.zeros(2, np.uint8)}, {"input.bytes/x": np.zeros(3)}, {"input.lengths/x": np.array([-1, 4])}],
)
def test_strings_that_do_not_add_up_are_refused(tmp_path, damage):
    arrays = packed("input", {"x": np.array([b"a\0", b"b"], object)})
    for broken in (arrays | damage, {"input.lengths/x": arrays["input.lengths/x"]}):
        np.savez(tmp_path / "golden.npz", **broken)
        with pytest.raises(PublishError, match="the lengths of its strings are not those of their bytes"):
            read_golden(tmp_path / "golden.npz")


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x03\x04"])
def test_what_holds_no_samples_is_one_sentence(tmp_path, content):
    if content is not None:
        (tmp_path / "golden.npz").write_bytes(content)
    with pytest.raises(PublishError, match=r"golden\.npz holds no golden samples \(.*\); convert the model again"):
        read_golden(tmp_path / "golden.npz")


def test_an_archive_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "golden.npz", weights=np.zeros(3))
    with pytest.raises(PublishError, match="holds no golden samples"):
        read_golden(tmp_path / "golden.npz")
    with (tmp_path / "golden.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(PublishError, match="holds no golden samples"):
        read_golden(tmp_path / "golden.npz")
