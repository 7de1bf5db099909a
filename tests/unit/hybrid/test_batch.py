"""What a twin is told of a call, and how two answers become one."""

import json

import numpy as np
import pytest

from python_backend.hybrid.batch import Answer, parameters_for_twins


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"deadline_ms": 1500.5}, {"deadline_ms": "1500.5"}),
        ({"share": 0.1, "big": 1e300, "whole": 2.0}, {"share": "0.1", "big": "1e+300", "whole": "2.0"}),
        ({"text": "0.5", "count": 7, "yes": True}, {"text": "0.5", "count": 7, "yes": True}),
    ],
)
def test_numbers_with_a_fraction_reach_a_twin_as_text_and_all_else_as_it_is(said, told):
    found = parameters_for_twins(json.dumps(said))
    assert found == told
    assert all(type(found[name]) is type(told[name]) for name in told)
    assert all(float(found[name]) == said[name] for name in said if isinstance(said[name], float))


def test_rows_of_another_answer_take_their_place_in_the_outputs_that_it_has():
    first = Answer({"x": np.zeros((3, 1)), "y": np.full((3, 1), 7.0)}, "onnx")
    got = first.patched(np.array([False, True, False]), Answer({"x": np.ones((1, 1))}, "original"))
    assert got.outputs["x"].ravel().tolist() == [0, 1, 0]
    assert got.outputs["y"].ravel().tolist() == [7, 7, 7]
    assert got.served_by.tolist() == ["onnx", "original", "onnx"]
    assert first.outputs["x"].ravel().tolist() == [0, 0, 0]
