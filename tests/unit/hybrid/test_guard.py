from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from python_backend.hybrid.guard import all_finite, bad_rows, broken_output, first_not_finite

# The guard silences it where it is loaded; pytest sets the filters of its own again.
pytestmark = pytest.mark.filterwarnings("ignore:.* encountered in reduce:RuntimeWarning")

FLOATS = st.sampled_from([np.float16, np.float32, np.float64])


@given(FLOATS.flatmap(lambda d: arrays.arrays(d, arrays.array_shapes(max_dims=3, min_side=0))))
def test_finite_is_what_numpy_calls_finite(array):
    assert all_finite(array) == bool(np.isfinite(array).all())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_large_values_whose_sum_overflows_are_finite(dtype):
    assert all_finite(np.full((64, 64), np.finfo(dtype).max, dtype))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (63, 17), (99, 99)])
def test_one_value_among_many_is_found_and_placed(value, place):
    array = np.zeros((100, 100), np.float32)
    array[place] = value
    assert not all_finite(array)
    assert first_not_finite(array) == place


def test_opposite_infinities_do_not_cancel():
    assert not all_finite(np.array([np.inf, -np.inf], np.float32))


def test_an_output_is_named_with_what_is_wrong(settings):
    asked = frozenset({"y"})
    good = np.zeros((3, 2), np.float32)
    assert broken_output(settings, {"y": good}, asked, 3) is None
    assert broken_output(settings, {}, asked, 3) == "output 'y' is missing"
    assert broken_output(settings, {"y": good[:2]}, asked, 3) == "output 'y' has shape [2, 2], expected [3, 2]"
    assert broken_output(settings, {"y": good.astype("i4")}, asked, 3) == "output 'y' has dtype int32, expected float32"


def test_the_bad_rows_are_told(settings):
    y = np.zeros((4, 2), np.float32)
    assert bad_rows(settings, {"y": y}, frozenset({"y"}), 4) is None
    y[1, 0], y[3, 1] = np.nan, np.inf
    assert bad_rows(settings, {"y": y}, frozenset({"y"}), 4).tolist() == [False, True, False, True]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_rows_out_of_their_range_are_told(settings, dtype):
    spec = replace(settings.outputs["y"], dtype=np.dtype(dtype), finite=dtype is not np.int64, range=(0.0, 1.0))
    limited = replace(settings, outputs={"y": spec})
    y = np.array([[0, 1], [1, 1], [2, 0], [0, -1]], dtype)
    assert bad_rows(limited, {"y": y[:2]}, frozenset({"y"}), 2) is None
    assert bad_rows(limited, {"y": y}, frozenset({"y"}), 4).tolist() == [False, False, True, True]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((0.0, np.inf), [False, False, True, False]),
        ((-np.inf, 1.0), [False, False, False, True]),
        ((-1000.0, np.inf), [False, False, True, False]),
        ((-1e308, 1e308), [False, False, False, False]),
    ],
)
def test_a_range_that_is_open_at_one_end_binds_at_the_other(settings, dtype, limits, expected):
    spec = replace(settings.outputs["y"], dtype=np.dtype(dtype), finite=dtype is not np.int64, range=limits)
    limited = replace(settings, outputs={"y": spec})
    y = np.array([[0, 1], [1, 1], [0, -2000], [2000, 0]], dtype)
    found = bad_rows(limited, {"y": y}, frozenset({"y"}), 4)
    assert (found is not None) == any(expected)
    assert found is None or found.tolist() == expected


def test_at_its_closed_end_an_open_range_allows_for_rounding(settings):
    spec = replace(settings.outputs["y"], range=(0.0, np.inf))
    y = np.array([[-1e-6, 0], [-1e-3, 3e38]], np.float32)
    found = bad_rows(replace(settings, outputs={"y": spec}), {"y": y}, frozenset({"y"}), 2)
    assert found.tolist() == [False, True]


def test_a_range_allows_for_rounding_and_for_nan_where_that_may_be(settings):
    spec = replace(settings.outputs["y"], range=(0.0, 1.0))
    y = np.array([[1.000001, 0], [np.nan, -1e-6], [1.001, 0], [np.inf, 0]], np.float32)
    strict, free = (replace(settings, outputs={"y": replace(spec, finite=finite)}) for finite in (True, False))
    assert bad_rows(strict, {"y": y}, frozenset({"y"}), 4).tolist() == [False, True, True, True]
    assert bad_rows(free, {"y": y}, frozenset({"y"}), 4).tolist() == [False, False, True, True]
    assert bad_rows(replace(free, batched=False), {"y": y}, frozenset({"y"}), 1).tolist() == [True]
    y = np.array([[np.nan, 0.5], [0.2, 0.3]], np.float32)
    assert bad_rows(free, {"y": y}, frozenset({"y"}), 2) is None
    assert bad_rows(replace(free, batched=False), {"y": y}, frozenset({"y"}), 1) is None
