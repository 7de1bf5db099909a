"""Models that exporters stumble over: each is converted, and what is published is what it answers."""

import os
import subprocess
import sys

import pytest

from conversion.release.pbtxt import read_config

SERVED = "[serving]\nmax_batch_size = 4\n"
IN_TIME = (
    'inputs = [{ name = "x", dtype = "float32", shape = ["batch", "time", 4] }]\n'
    '[source]\nfactory = "net.py:build"\n' + SERVED
)
KERAS = '[source]\npath = "net.keras"\n' + SERVED
TORCH_LSTM = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lstm = torch.nn.LSTM(4, 3, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0]

build = Net
"""
MAKE_KERAS = """
import keras
from keras import layers

keras.utils.set_random_seed(0)
x = keras.Input((None, 4), name="x")
keras.Model(x, [{outputs}]).save("net.keras")
"""
ODD = {
    "torch_lstm": (IN_TIME, {"net.py": TORCH_LSTM}, [[-1, 3]]),
    "keras_lstm": (
        KERAS,
        {"make.py": MAKE_KERAS.format(outputs="layers.LSTM(3)(x), layers.GRU(2, return_sequences=True)(x)")},
        [[3], [-1, 2]],
    ),
    "keras_gelu": (
        KERAS,
        {"make.py": MAKE_KERAS.format(outputs='layers.Dense(3, activation="gelu")(x)')},
        [[-1, 3]],
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_it_is_published_with_the_sizes_that_it_answers(tmp_path, name):
    spec, files, sizes = ODD[name]
    folder, environment = tmp_path / name, os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    folder.mkdir()
    for path, text in {"model.toml": spec, **files}.items():
        (folder / path).write_text(text)
    if "make.py" in files:
        subprocess.run(
            [sys.executable, "-W", "ignore", "make.py"], cwd=folder, env=environment, check=True, timeout=120
        )
    command = [
        *(sys.executable, "-m", "conversion", "convert", str(folder), "--server", "none", "--search", "off", "--quiet"),
        *("--repository", str(tmp_path / "repository"), "--build", str(tmp_path / "build")),
    ]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    config = read_config(tmp_path / "repository" / name / "config.pbtxt")
    assert [list(output.dims) for output in config.output][:-1] == sizes
    assert config.output[len(sizes)].name == "served_by"
