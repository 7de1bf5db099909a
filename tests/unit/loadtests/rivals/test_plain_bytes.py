"""Which graphs the hand-written server can be asked: sessions are written by hand."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from loadtests.rivals.plain_bytes import BytesDoNotTell, rows_of, why_not


def session(inputs, outputs):
    """A session of such tensors, each a type and a shape, by name."""

    def told(tensors):
        return [SimpleNamespace(name=name, type=kind, shape=shape) for name, (kind, shape) in tensors.items()]

    return SimpleNamespace(get_inputs=lambda: told(inputs), get_outputs=lambda: told(outputs))


FLOATS, STRINGS, DYNAMIC = ("tensor(float)", ["n", 3]), ("tensor(string)", ["n", 1]), ("tensor(float)", ["n", "time"])
UNTOLD = [
    ({"x": DYNAMIC}, {"y": FLOATS}, r"input 'x' is tensor\(float\)\['n', 'time'\]: its bytes do not tell its shape"),
    ({"x": FLOATS, "word": STRINGS}, {"y": FLOATS}, r"input 'word' is tensor\(string\)"),
    ({"x": FLOATS}, {"label": STRINGS}, r"output 'label' is tensor\(string\)\['n', 1\]: its bytes do not tell"),
]


def test_a_row_has_the_shape_that_the_graph_says_and_outputs_may_be_of_any():
    assert rows_of(session({"x": FLOATS}, {"y": DYNAMIC})) == [("x", np.dtype(np.float32), (1, 3))]


def test_rows_come_in_the_order_of_their_names_whatever_that_of_the_graph():
    found = rows_of(session({"x": FLOATS, "n": ("tensor(int64)", ["n"])}, {"y": DYNAMIC}))
    assert found == [("n", np.dtype(np.int64), (1,)), ("x", np.dtype(np.float32), (1, 3))]


@pytest.mark.parametrize(("inputs", "outputs", "told"), UNTOLD)
def test_what_bytes_do_not_tell_is_refused(inputs, outputs, told):
    with pytest.raises(BytesDoNotTell, match=told):
        rows_of(session(inputs, outputs))


@pytest.mark.parametrize(("inputs", "outputs", "told"), UNTOLD)
def test_a_file_is_looked_at_by_the_same_rule(monkeypatch, inputs, outputs, told):
    opened = []

    def open_session(path, options, providers):
        opened.append((path, providers))
        return session(inputs, outputs) if path == "wild.onnx" else session({"x": FLOATS}, {"y": FLOATS})

    level = SimpleNamespace(ORT_DISABLE_ALL=0)
    runtime = SimpleNamespace(
        InferenceSession=open_session, SessionOptions=SimpleNamespace, GraphOptimizationLevel=level
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    assert why_not(Path("tame.onnx")) is None
    with pytest.raises(BytesDoNotTell, match=told):
        raise BytesDoNotTell(why_not(Path("wild.onnx")))
    assert opened[0] == ("tame.onnx", ["CPUExecutionProvider"])
    runtime.InferenceSession = None
    assert why_not(Path("broken.onnx")) is None, "who runs it tells what is wrong with it"
