import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_client import TensorSpec, WrongDtype
from understudy_client.dtypes import MANY, NUMPY_DTYPES, dtype_name, is_long_work, numpy_dtype, to_array

NUMBERS = [name for name in NUMPY_DTYPES if name != "BYTES"]


def _spec(datatype: str) -> TensorSpec:
    return TensorSpec("x", datatype, (-1,))


@pytest.mark.parametrize("datatype", NUMBERS)
def test_an_array_of_the_right_dtype_is_taken_as_it_is(datatype: str) -> None:
    array = np.array([0, 1], dtype=NUMPY_DTYPES[datatype])
    assert to_array(array, _spec(datatype), "m") is array


@pytest.mark.parametrize("datatype", NUMBERS)
@pytest.mark.parametrize("other", NUMBERS)
def test_an_array_of_another_dtype_is_refused(datatype: str, other: str) -> None:
    if datatype == other:
        return
    with pytest.raises(WrongDtype) as caught:
        to_array(np.array([0, 1], dtype=NUMPY_DTYPES[other]), _spec(datatype), "m")
    assert dtype_name(datatype) in str(caught.value)
    assert f"got {NUMPY_DTYPES[other]}" in str(caught.value)


@pytest.mark.parametrize("datatype", ["INT16", "UINT64", "FP32", "FP64"])
def test_a_foreign_byte_order_is_adapted(datatype: str) -> None:
    native = np.array([1, 2, 300], dtype=NUMPY_DTYPES[datatype])
    taken = to_array(native.astype(native.dtype.newbyteorder()), _spec(datatype), "m")
    assert taken.dtype == native.dtype
    assert taken.tobytes() == native.tobytes()


def test_bf16_is_the_dtype_that_tritonclient_takes() -> None:
    from tritonclient.utils import np_to_triton_dtype

    assert np_to_triton_dtype(numpy_dtype("BF16")) == "BF16"
    assert to_array([1.5, -2.0], _spec("BF16"), "m").astype(np.float32).tolist() == [1.5, -2.0]
    assert to_array([256, -1], _spec("BF16"), "m").astype(np.float32).tolist() == [256, -1]
    assert to_array([256, 0.1], _spec("BF16"), "m").astype(np.float32).tolist() == [256, 0.10009765625]


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("BOOL", [True, False]),
        ("INT8", [-128, 127]),
        ("UINT64", [2**64 - 1]),
        ("INT64", [-(2**63), 2**63 - 1]),
        ("FP16", [1, 2048]),
        ("FP32", [0.5, float("nan"), float("inf")]),
        ("FP64", [2**53, 2**53 + 2, -(2**60)]),
        ("FP64", [2**53, 0.1, 2.0**70, float("-inf"), 2**63, -1]),
        ("FP32", [16777216, 16777217.0, 0.1, 1e30, True]),
        ("FP16", [0.1, 2048, 2049.0]),
        ("FP32", [[[1], [2]], [[3], [4]]]),
        ("FP32", []),
        ("INT64", []),
    ],
)
def test_python_values_become_the_models_dtype(datatype: str, values: list[float]) -> None:
    array = to_array(values, _spec(datatype), "m")
    assert array.dtype == NUMPY_DTYPES[datatype]
    np.testing.assert_array_equal(array, np.array(values, dtype=NUMPY_DTYPES[datatype]))


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1))
def test_floats_are_rounded_as_numpy_rounds_them(values: list[float]) -> None:
    assert to_array(values, _spec("FP32"), "m").tolist() == [float(np.float32(value)) for value in values]


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("INT8", [128]),
        ("UINT8", [-1]),
        ("INT64", [2**63]),
        ("INT64", [2**70]),
        ("INT32", [1.0]),
        ("INT32", [True]),
        ("FP32", [True]),
        ("BOOL", [1]),
        ("FP16", [70000.0]),
        ("FP16", [70000]),
        ("FP32", [1e39]),
        ("FP32", [2**24 + 1]),
        ("FP64", [2**53 + 1]),
        ("FP64", [2**53 + 1, 0.5]),
        ("FP64", [[0.5, 1], [float("inf"), 2**53 + 1]]),
        ("FP64", [2**63 + 1, -1]),
        ("FP32", [16777217, 0.5]),
        ("FP32", [float("nan"), -16777217]),
        ("FP16", [0.5, 2049]),
        ("BF16", [257]),
        ("BF16", [0.5, 257]),
        ("FP64", [-(2**53) - 1]),
        ("INT64", [-(2**63) - 1]),
        ("UINT64", [2**64 - 1, -1]),
        ("FP32", ["1.0"]),
        ("FP32", [None]),
        ("FP32", [1 + 2j]),
        ("FP32", [[1.0], [1.0, 2.0]]),
    ],
)
def test_python_values_that_would_lose_something_are_refused(datatype: str, values: list[object]) -> None:
    with pytest.raises(WrongDtype):
        to_array(values, _spec(datatype), "m")


def test_a_list_of_arrays_keeps_its_dtype_and_must_have_the_models() -> None:
    rows = [np.ones(2, np.float32), np.zeros(2, np.float32)]
    assert to_array(rows, _spec("FP32"), "m").tolist() == [[1, 1], [0, 0]]
    with pytest.raises(WrongDtype):
        to_array([np.ones(2), np.zeros(2)], _spec("FP32"), "m")
    with pytest.raises(WrongDtype):
        to_array([np.float64(0.1)], _spec("FP32"), "m")


def test_a_masked_array_is_refused() -> None:
    with pytest.raises(WrongDtype, match="masked"):
        to_array(np.ma.masked_equal(np.ones(2, np.float32), 1), _spec("FP32"), "m")


@pytest.mark.parametrize(
    "values",
    [
        ["a", b"\x00\xff", ""],
        [b"a\x00", b"b\x00\x00"],
        np.array(["a", "ß"]),
        np.array([b"a", b"b\xff"]),
        np.array(["a", b"\x00"], dtype=object),
        [],
    ],
)
def test_strings_become_bytes_in_utf_8(values: list[str | bytes]) -> None:
    array = to_array(values, _spec("BYTES"), "m")
    assert array.dtype == np.object_
    assert array.tolist() == [item.encode() if isinstance(item, str) else item for item in values]


@pytest.mark.parametrize(
    "values", [[1], np.ones(2), [None], [["a"], ["b", "c"]], np.array(["a", 1], dtype=object), ["\ud800"]]
)
def test_what_is_no_string_is_refused(values: object) -> None:
    with pytest.raises(WrongDtype, match=r"strings \(BYTES\)"):
        to_array(values, _spec("BYTES"), "m")


def test_the_shape_of_strings_is_kept() -> None:
    assert to_array([["a", "b"], ["c", "d"]], _spec("BYTES"), "m").shape == (2, 2)


def test_a_long_string_among_numbers_is_refused_before_all_become_as_wide() -> None:
    values = [["a" * 2**20], *([""] for _ in range(2**20))]
    tracemalloc.start()
    try:
        with pytest.raises(WrongDtype, match="got a list of strings; give values of that kind"):
            to_array(values, _spec("FP32"), "m")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    with pytest.raises(WrongDtype, match="a list of bytes"):
        to_array([1.0, b"1.0"], _spec("FP32"), "m")


def test_values_that_have_a_dtype_are_seen_at_any_depth() -> None:
    for values in ([[[1.0], [np.float64(2)]]], [[1.0, 2.0], np.ones(2)], [[[1.0, 2.0]], [np.ones(2)]]):
        with pytest.raises(WrongDtype, match="got float64; convert it"):
            to_array(values, _spec("FP32"), "m")


@pytest.mark.parametrize(
    ("value", "long"),
    [
        ([0.0] * MANY, False),
        ([0.0] * (MANY + 1), True),
        ([[], [[0.0] * 9] * (MANY // 9)], True),
        ([[0.0]] * (MANY // 2), False),
        (np.zeros(MANY + 1), False),
        (np.full(MANY + 1, b"", object), True),
        (np.full(MANY, b"", object), False),
        ("a" * (MANY + 1), False),
    ],
    ids=["few", "many", "uneven", "rows", "numbers", "strings", "few strings", "a string"],
)
def test_many_values_one_by_one_are_long_work(value: object, *, long: bool) -> None:
    assert is_long_work(value) is long


@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
@pytest.mark.parametrize("levels", [33, 5000])
def test_lists_without_an_end_are_refused(levels: int, datatype: str) -> None:
    deep: list[object] = []
    for _ in range(levels):
        deep = [deep]
    with pytest.raises(WrongDtype, match="lists within lists without an end"):
        to_array(deep, _spec(datatype), "m")
