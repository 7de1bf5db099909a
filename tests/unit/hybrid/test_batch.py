"""What a twin is told of a call."""

import json

import pytest

from python_backend.hybrid.batch import parameters_for_twins


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
