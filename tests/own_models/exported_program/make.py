"""An exported program with a dynamic batch and a dynamic length, and a float16 output."""

import torch
from torch import nn


class Smoother(nn.Module):
    def __init__(self):
        super().__init__()
        self.kernel = nn.Conv1d(2, 4, 5, padding=2)

    def forward(self, wave):
        smooth = self.kernel(wave)
        return {"smooth": smooth, "loudness": smooth.square().mean((1, 2)).to(torch.float16)[:, None]}


torch.manual_seed(6)
batch, time = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("time", min=5, max=4096)
program = torch.export.export(Smoother().eval(), (torch.randn(2, 2, 32),), dynamic_shapes={"wave": {0: batch, 2: time}})
torch.export.save(program, "net.pt2")
