"""PyTorch modules that work in place, on what they are given or on memory of their own, in a process of their own."""

MODULE = """
import torch

class Centred(torch.nn.Module):
    def forward(self, x):
        x -= x.mean(dim=1, keepdim=True)
        return torch.nn.functional.relu(x, inplace=True)
"""
SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from python_backend.original.bundle import Bundle, Tensor
from python_backend.original.loading import Device, load

directory = Path(sys.argv[1])
Bundle(
    format="torch_module",
    factory="centred.py:Centred",
    arguments={},
    weights=(),
    inputs=(Tensor("x", "float32", (None, 4)),),
    outputs=(Tensor("y", "float32", (None, 4)),),
).write(directory)
model = load(directory, Device(1))
row = np.float32([1, 2, 3, 6])
for x in (row[None], np.broadcast_to(row, (2, 4)), np.ascontiguousarray(row[::-1])[None, ::-1]):
    before = x.copy()
    assert model.run({"x": x})["y"][0].tolist() == [0, 0, 0, 3]
    assert np.array_equal(x, before), "the caller's array has changed"
"""


def test_the_callers_arrays_stay_as_they_are(run_script):
    done = run_script(SCRIPT, "centred.py", MODULE)
    assert done.returncode == 0, done.stderr


OWN_MEMORY = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("sum", torch.zeros(4), persistent=False)
        self.register_buffer("rows", torch.zeros(8, 4), persistent=False)
        self.last = torch.zeros(1, 4)
    def forward(self, x):
        answer = self.rows[:len(x)]
        return self.sum.add_(x[0]), answer.copy_(x), self.last.copy_(x[:1])

class Turned(torch.nn.Module):
    def forward(self, x):
        return torch.fft.fft(x).conj().imag, torch.fft.fft(x).imag
"""
ANSWERS = """
import sys
from pathlib import Path
import numpy as np
from python_backend.original.bundle import Bundle, Tensor
from python_backend.original.loading import Device, load

directory = Path(sys.argv[1])

def loaded(net):
    inputs = (Tensor("x", "float32", (None, 4)),)
    Bundle(format="torch_module", factory=f"nets.py:{net}", inputs=inputs).write(directory)
    return load(directory, Device())

x = np.float32([[1, 2, 3, 4], [5, 6, 7, 8]])
model = loaded("Net")
first = model.run({"x": x})
model.run({"x": x * 10})
state, rows, last = first.values()
assert state.tolist() == [1, 2, 3, 4], "a buffer that is given itself"
assert rows.tolist() == x.tolist(), "a part of a buffer"
assert last.tolist() == [[1, 2, 3, 4]], "a tensor that is no buffer"
"""


def test_an_answer_stays_as_it_is_when_the_module_writes_over_its_own_memory(run_script):
    done = run_script(ANSWERS, "nets.py", OWN_MEMORY)
    assert done.returncode == 0, done.stderr


def test_an_answer_may_be_a_view_that_is_negated_when_it_is_read(run_script):
    script = """
turned, straight = loaded("Turned").run({"x": np.float32([[1, 2, 3, 5]])}).values()
assert turned.tolist() == (-straight).tolist() == [[0, -3, 0, 3]]
"""
    done = run_script(ANSWERS + script, "nets.py", OWN_MEMORY)
    assert done.returncode == 0, done.stderr
