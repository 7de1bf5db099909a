"""Weights in a folder, in two safetensors files, beside the factory."""

from pathlib import Path

import torch
from net import build
from safetensors.torch import save_file

torch.manual_seed(4)
state = build(40).state_dict()
Path("weights").mkdir()
first = {key: value for key, value in state.items() if key.startswith("embedding")}
save_file(first, "weights/part-1.safetensors")
save_file({key: value for key, value in state.items() if key not in first}, "weights/part-2.safetensors")
