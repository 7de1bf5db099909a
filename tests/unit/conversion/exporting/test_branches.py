"""Bounds of dynamic dimensions as dynamo tells them: what lies past each is tried."""

from math import inf
from types import SimpleNamespace

import pytest

from conversion.exporting.branches import edges
from conversion.interface import Facts


def size(symbol):
    """A dimension of a traced tensor: a symbol, or the number that it is fixed at."""
    return symbol if isinstance(symbol, int) else SimpleNamespace(node=SimpleNamespace(expr=symbol))


def program(bounds, **shapes):
    """An exported program as far as it is looked at: the inputs' dimensions, and the bounds of each symbol."""
    nodes = [
        SimpleNamespace(name=name, op="placeholder", meta={"val": SimpleNamespace(shape=[size(s) for s in shape])})
        for name, shape in shapes.items()
    ]
    return SimpleNamespace(
        graph=SimpleNamespace(nodes=nodes),
        graph_signature=SimpleNamespace(user_inputs=list(shapes)),
        range_constraints={symbol: SimpleNamespace(lower=low, upper=high) for symbol, (low, high) in bounds.items()},
    )


X = Facts("x", "float32", ("batch", "x_length", 4))
MASK = Facts("mask", "float32", ("batch", "mask_length"))


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (2, 64, [{"x_length": 65}]),
        (3, inf, [{"x_length": 2}]),
        (5, 64, [{"x_length": 65}, {"x_length": 4}]),
        (2, inf, []),
        (2, 8192, []),
    ],
)
def test_the_first_size_past_each_bound_is_told(low, high, found):
    assert edges(program({"b": (2, 8), "s": (low, high)}, x=("b", "s", 4)), [X]) == found


def test_dimensions_that_have_to_be_of_one_size_go_past_it_together():
    made = program({"b": (2, inf), "s": (2, 64)}, x=("b", "s", 4), mask=("b", "s"))
    assert edges(made, [X, MASK]) == [{"x_length": 65, "mask_length": 65}]


def test_others_go_past_theirs_by_themselves():
    made = program({"b": (2, inf), "s": (2, 64), "t": (2, 32)}, x=("b", "s", 4), mask=("b", "t"))
    assert edges(made, [X, MASK]) == [{"x_length": 65}, {"mask_length": 33}]


def test_one_name_in_several_inputs_is_told_once():
    facts = [Facts("x", "float32", ("batch", "time", 4)), Facts("mask", "float32", ("batch", "time"))]
    for mask in ("s", "t"):
        made = program({"b": (2, inf), "s": (2, 64), "t": (2, 64)}, x=("b", "s", 4), mask=("b", mask))
        assert edges(made, facts) == [{"time": 65}]
