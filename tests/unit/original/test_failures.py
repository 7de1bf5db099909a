"""Whatever a model raises is told in one sentence, and is the business of its own request alone."""

import importlib
import sys
import types

import numpy as np
import pytest

from python_backend.original.bundle import Tensor
from python_backend.original.errors import DtypeUnknown, RunFailed, first_line
from python_backend.original.tensorflow_runtime import TensorFlowModel

TENSORS = ((Tensor("x", "float32", (None, None)),), (Tensor("y", "float32", (None, None)),))
MODULE = """
import torch

class Unlucky(Exception):
    pass

class Net(torch.nn.Module):
    def forward(self, x):
        raise (ZeroDivisionError("no rows"), OverflowError("too large"), MemoryError(), Unlucky("13"))[int(x[0, 0])]
"""
SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from python_backend.original.bundle import Bundle, Tensor
from python_backend.original.errors import RunFailed
from python_backend.original.loading import Device, load

directory = Path(sys.argv[1])
Bundle(format="torch_module", factory="net.py:Net", inputs=(Tensor("x", "float32", (None, 1)),)).write(directory)
model = load(directory, Device())
for number in range(4):
    try:
        model.run({"x": np.full((1, 1), number, np.float32)})
    except RunFailed as error:
        print(error)
"""


class Unlucky(Exception):
    """A class of the model's own."""


class Speechless(Exception):
    """One that cannot even be written."""

    def __str__(self):
        raise AttributeError("message")


def test_whatever_a_torch_module_raises_is_one_sentence(run_script):
    done = run_script(SCRIPT, "net.py", MODULE)
    causes = ["ZeroDivisionError: no rows", "OverflowError: too large", "MemoryError", "Unlucky: 13"]
    assert done.stdout.splitlines() == [f"the original model failed: {cause}" for cause in causes], done.stderr


def of_tensorflow(call):
    """A model whose tensors are arrays; TensorFlow itself is not there."""

    def eager(array):
        return types.SimpleNamespace(array=array, numpy=lambda: array)

    return TensorFlowModel(types.SimpleNamespace(constant=eager), None, lambda x: [eager(call(x.array))], *TENSORS)


@pytest.mark.parametrize(
    ("raised", "cause"),
    [
        (ZeroDivisionError("no rows"), "ZeroDivisionError: no rows"),
        (OverflowError("too large"), "OverflowError: too large"),
        (MemoryError(), "MemoryError"),
        (StopIteration(), "StopIteration"),
    ],
)
def test_whatever_a_tensorflow_model_raises_is_one_sentence(raised, cause):
    def call(_):
        raise raised

    with pytest.raises(RunFailed) as caught:
        of_tensorflow(call).run({"x": np.zeros((1, 1), np.float32)})
    assert str(caught.value) == f"the original model failed: {cause}"


def test_what_this_package_says_of_an_output_is_said_as_it_is():
    def call(_):
        raise DtypeUnknown("y", "bfloat16")

    with pytest.raises(DtypeUnknown):
        of_tensorflow(call).run({"x": np.zeros((1, 1), np.float32)})


class Request:
    """A request for `y` of rows of so many columns."""

    def __init__(self, *starts, width=2):
        self.x = np.full((len(starts), width), 0, np.float32)
        self.x[:, 0] = starts

    def inputs(self):
        return [types.SimpleNamespace(name=lambda: "x", as_numpy=lambda: self.x)]

    def requested_output_names(self):
        return ["y"]


@pytest.fixture
def execute(monkeypatch):
    """Answer requests with a model: an array for each, or the sentence."""
    backend = types.ModuleType("triton_python_backend_utils")
    backend.TritonError = str
    backend.Tensor = lambda name, value: value
    backend.InferenceResponse = lambda tensors=(), error=None: error or tensors[0].tolist()
    monkeypatch.setitem(sys.modules, backend.__name__, backend)
    monkeypatch.delitem(sys.modules, "python_backend.original.model", raising=False)
    entry = importlib.import_module("python_backend.original.model")
    monkeypatch.delitem(sys.modules, entry.__name__)

    def answers(model, *requests, batched=True):
        instance = entry.TritonPythonModel()
        instance._model, instance._batched = model, batched
        return instance.execute(list(requests))

    return answers


@pytest.mark.parametrize("kind", [ZeroDivisionError, OverflowError, MemoryError, Unlucky])
def test_what_a_model_raises_on_one_request_leaves_the_others_of_its_execution_alone(execute, kind):
    def call(x):
        if (x == 13).any():
            raise kind("not this row")
        return x + 1

    found = execute(of_tensorflow(call), Request(1), Request(13), Request(2, 3), Request(4, width=1))
    assert found == [[[2, 1]], f"the original model failed: {kind.__name__}: not this row", [[3, 1], [4, 1]], [[5]]]


def test_requests_that_have_no_room_joined_are_computed_one_by_one(execute, monkeypatch):
    def full(_):
        raise MemoryError

    monkeypatch.setattr(np, "concatenate", full)
    assert execute(of_tensorflow(lambda x: x + 1), Request(1), Request(2)) == [[[2, 1]], [[3, 1]]]


def taken_for_full(x):
    return x[x[:, 0] > 0] * 10


def refused(shape, rows):
    return (
        f"output 'y' of the original has shape {shape} for a batch of {rows}; its first dimension must be the batch: "
        "give a row for each, or set max_batch_size = 0 in [serving] of model.toml"
    )


def test_a_row_that_a_model_drops_does_not_hand_its_caller_the_next_ones_answer(execute):
    found = execute(of_tensorflow(taken_for_full), Request(-1), Request(7), Request(-1, 3))
    assert found == [refused([0, 2], 1), [[70, 0]], refused([1, 2], 2)]


@pytest.mark.parametrize("call", [np.sum, lambda x: x[0], lambda x: np.concatenate([x, x])])
def test_an_answer_whose_first_dimension_is_not_the_batch_is_an_error(execute, call):
    shape = list(call(np.zeros((1, 2), np.float32)).shape)
    assert execute(of_tensorflow(call), Request(1)) == [refused(shape, 1)]
    assert execute(of_tensorflow(call), Request(1), Request(2, 3))[0] == refused(shape, 1)


def test_a_model_without_rows_may_give_any_shape(execute):
    assert execute(of_tensorflow(taken_for_full), Request(-1), Request(7), batched=False) == [[], [[70, 0]]]


def test_an_output_that_nobody_asks_for_may_have_any_shape(execute):
    model = of_tensorflow(lambda x: x + 1)
    plain = model.run
    model.run = lambda arrays: plain(arrays) | {"loss": np.zeros(())}
    assert execute(model, Request(1), Request(2, 3)) == [[[2, 1]], [[3, 1], [4, 1]]]


def test_the_first_line_of_an_error_that_cannot_be_written_is_its_class():
    assert first_line(Speechless()) == "Speechless"
