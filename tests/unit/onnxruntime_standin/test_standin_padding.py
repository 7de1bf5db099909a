"""Batches filled up to a few sizes: which session runs what, and what becomes of outputs that do not fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from python_backend.onnxruntime.padding import Filler, PaddedRows, padded_sizes

SIZES = padded_sizes(20)


class Sessions:
    """Sessions that answer with `answer` of their input, and keep the rows of each of their runs."""

    def __init__(self, answer=lambda rows: rows * 2):
        self.opened, self.whole, self._answer = [], [], answer

    def open(self, size):
        runs, fill = [], Filler()
        self.opened.append(runs)
        run = self._run(runs)
        return lambda names, feeds: run(names, fill(feeds, size))

    def as_they_come(self):
        return self._run(self.whole)

    def _run(self, runs):
        def run(names, feeds):
            assert names == ["y"]
            runs.append(len(feeds["x"]))
            return [self._answer(feeds["x"])]

        return run


def padded(sessions, sizes=SIZES):
    return PaddedRows(sessions.as_they_come(), sizes, sessions.open)


def numbers(rows, start=0):
    return np.arange(start, start + rows * 3, dtype=np.float32).reshape(rows, 3)


@pytest.mark.parametrize(
    ("largest", "sizes"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (3, (1, 2, 3)),
        (8, (1, 2, 3, 4, 6, 8)),
        (17, (1, 2, 3, 4, 6, 8, 12, 17)),
        (100, (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 100)),
    ],
)
def test_sizes_double_in_two_steps_up_to_the_largest_batch(largest, sizes):
    assert padded_sizes(largest) == sizes


@given(st.integers(1, 4096), st.data())
def test_no_batch_is_filled_up_to_twice_its_rows(largest, data):
    sizes = padded_sizes(largest)
    assert (sizes[0], sizes[-1], list(sizes)) == (1, largest, sorted(set(sizes)))
    rows = data.draw(st.integers(1, largest))
    assert next(size for size in sizes if size >= rows) <= rows * 12 / 7


@given(st.lists(st.integers(1, 20), min_size=1, max_size=12))
def test_every_session_meets_one_size_and_callers_get_their_own_rows(batches):
    sessions = Sessions()
    run = padded(sessions)
    for number, rows in enumerate(batches):
        x = numbers(rows, 100 * number)
        np.testing.assert_array_equal(run(["y"], {"x": x})[0], x * 2)
    met = [set(runs) for runs in sessions.opened]
    assert all(len(sizes) == 1 for sizes in met)
    assert sorted(size for sizes in met for size in sizes) == sorted(
        {next(size for size in SIZES if size >= rows) for rows in batches}
    )
    assert sessions.whole == []


@pytest.mark.parametrize("rows", [0, 21])
def test_an_empty_batch_and_one_above_all_sizes_run_as_they_come(rows):
    sessions = Sessions()
    x = numbers(rows)
    np.testing.assert_array_equal(padded(sessions)(["y"], {"x": x})[0], x * 2)
    assert (sessions.whole, sessions.opened) == ([rows], [])


def test_rows_are_filled_up_with_what_the_graph_can_take():
    fill = Filler()
    first = fill({"x": numbers(3, 50)}, 4)["x"].copy()
    np.testing.assert_array_equal(first, numbers(4, 50)[[0, 1, 2, 2]])
    np.testing.assert_array_equal(fill({"x": numbers(1)}, 4)["x"], np.concatenate([numbers(1), first[1:]]))


def test_other_dimensions_and_strings_may_change_from_call_to_call():
    run = padded(Sessions(lambda rows: rows))
    for x in (numbers(3), numbers(3)[:, :2], np.array([["a"], ["b"], ["c"]], object)):
        np.testing.assert_array_equal(run(["y"], {"x": x})[0], x)


def test_once_an_output_has_other_rows_than_its_batch_all_batches_run_as_they_come():
    sessions = Sessions(lambda rows: rows.sum(axis=0, keepdims=True))
    run = padded(sessions)
    for _ in range(2):
        np.testing.assert_array_equal(run(["y"], {"x": numbers(3)})[0], numbers(3).sum(axis=0, keepdims=True))
    assert (sessions.whole, sessions.opened) == ([3, 3], [[3]])


def test_warmed_up_every_session_is_open_and_has_run():
    sessions = Sessions()
    run = padded(sessions)
    run.warm(["y"], {"x": numbers(1)})
    assert sessions.opened == [[size] for size in SIZES]
    run(["y"], {"x": numbers(20)})
    assert sessions.opened[-1] == [20, 20]
