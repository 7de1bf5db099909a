"""A PyTorch module that works in place on what it is given, in a process of its own, as every framework has one."""

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
