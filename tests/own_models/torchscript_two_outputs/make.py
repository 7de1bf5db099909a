"""A TorchScript file with two inputs and two outputs, and no Python class behind it."""

import torch
from torch import nn


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(10, 6)

    def forward(self, left, right):
        a, b = torch.tanh(self.inner(left)), torch.tanh(self.inner(right))
        return a * b, (a - b).abs().sum(1, keepdim=True)


torch.manual_seed(5)
torch.jit.script(Pair().eval()).save("net.pt")
