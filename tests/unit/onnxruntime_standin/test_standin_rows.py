"""Rows of a call side by side: what is run where, and what becomes of outputs that do not fit."""

import threading

import numpy as np
import pytest

from python_backend.onnxruntime.rows import SplitRows

DEADLINE_S = 10.0


class Session:
    """Doubles its input, and keeps the rows of each run."""

    def __init__(self, answer=lambda rows: rows * 2, meet=None):
        self.runs = []
        self._answer = answer
        self._meet = meet

    def __call__(self, names, feeds):
        assert names == ["y"]
        self.runs.append(len(feeds["x"]))
        if self._meet is not None:
            self._meet.wait(DEADLINE_S)
        return [self._answer(feeds["x"])]


def ask(split, rows):
    x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    return x, split(["y"], {"x": x})[0]


@pytest.mark.parametrize(("rows", "parts"), [(2, [1, 1]), (3, [1, 1, 1]), (8, [2, 3, 3]), (9, [3, 3, 3])])
def test_several_rows_run_at_once_in_even_parts_and_come_back_in_their_order(rows, parts):
    # No part goes on before all of them run.
    single = Session(meet=threading.Barrier(len(parts)))
    whole = Session()
    x, y = ask(SplitRows(whole, single, 3), rows)
    np.testing.assert_array_equal(y, x * 2)
    assert sorted(single.runs) == parts
    assert whole.runs == []


def test_a_single_row_has_all_threads():
    whole, single = Session(), Session()
    x, y = ask(SplitRows(whole, single, 3), 1)
    np.testing.assert_array_equal(y, x * 2)
    assert (whole.runs, single.runs) == ([1], [])


@pytest.mark.parametrize(
    "answer",
    [
        lambda rows: rows[rows[:, 0] > 0],  # as many as the data says
        lambda rows: np.zeros((len(rows), int(rows[0, 0]) + 1)),  # as wide as the data says
        lambda rows: rows.sum(),  # one for all rows
    ],
)
def test_where_parts_do_not_make_up_the_batch_it_runs_whole_from_then_on(answer):
    whole, single = Session(answer), Session(answer)
    split = SplitRows(whole, single, 2)
    x, y = ask(split, 4)
    np.testing.assert_array_equal(y, answer(x))
    ask(split, 4)
    assert (whole.runs, single.runs) == ([4, 4], [2, 2])


@pytest.mark.parametrize("broken", [0, 1])
def test_an_error_of_any_part_is_raised_once_all_parts_have_ended(broken):
    ended = []

    def answer(rows):
        if rows[0, 0] == broken * 6:
            raise ValueError("broken")
        ended.append(len(rows))
        return rows

    with pytest.raises(ValueError, match="broken"):
        ask(SplitRows(Session(), Session(answer), 2), 4)
    assert ended == [2]
