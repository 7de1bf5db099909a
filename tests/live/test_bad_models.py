"""Models that cannot be converted: one sentence, the documented exit code, and a repository left as it was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conversion.publishing.repository import Repository

INPUT = 'inputs = [{ name = "x", dtype = "float32", shape = ["batch", 4] }]\n'
FACTORY = INPUT + '[source]\nfactory = "net.py:build"\n'
SMALL = "[serving]\nmax_batch_size = 4\n"

LINEAR = "import torch\n\ndef build():\n    torch.manual_seed(0)\n    return torch.nn.Linear(4, 2)\n"
RAISES = "def build():\n    raise RuntimeError('no licence for this model')\n"
NOT_A_MODULE = "def build():\n    return 42\n"
SYNTAX = "def build(:\n"
# Another sum while it is exported: the export succeeds and the graph is wrong.
DIFFERS = """
import torch

class Differs(torch.nn.Module):
    def forward(self, x):
        exporting = torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export() or torch.jit.is_tracing()
        return x + 1 if exporting else x

build = Differs
"""
FIXED = """
import torch

class Fixed(torch.nn.Module):
    def forward(self, x):
        return x.mean(0, keepdim=True) * 2

build = Fixed
"""
MIXED = """
import torch

class Mixed(torch.nn.Module):
    def forward(self, x):
        return x - x.mean(0, keepdim=True)

build = Mixed
"""
BAKED = """
import torch

class Baked(torch.nn.Module):
    def forward(self, x):
        return x.reshape(2, 4) + 1

build = Baked
"""
BFLOAT = """
import torch

class Half(torch.nn.Module):
    def forward(self, x):
        return x.to(torch.bfloat16)

build = Half
"""
COMPLEX = """
import torch

class Complex(torch.nn.Module):
    def forward(self, x):
        return torch.fft.fft(x)

build = Complex
"""
SIZED = """
import torch

class Sized(torch.nn.Module):
    def forward(self, x):
        return (x[:, :64] if x.shape[1] > 64 else x).cumsum(1).mean(1)

build = Sized
"""
MASKED = """
import torch

class Masked(torch.nn.Module):
    def forward(self, x, mask):
        if x.shape[1] > 64:
            x, mask = x[:, -64:], mask[:, -64:]
        return (x * mask[:, :, None]).sum(1)

build = Masked
"""
ALIKE = """
import torch

class Alike(torch.nn.Module):
    def forward(self, q, k):
        if q.shape[1] == k.shape[1]:
            return (q * k).sum(1)
        return q.sum(1) * k.sum(1)

build = Alike
"""
SINGLE = """
import torch

class Single(torch.nn.Module):
    def forward(self, x):
        return x - x.mean(1, keepdim=True) if x.shape[1] > 1 else x

build = Single
"""
VALUED = """
import torch

class Valued(torch.nn.Module):
    def forward(self, x):
        if (x > 1000).any():
            return x.clamp(max=1000) * 2
        return x * 2

build = Valued
"""
MAKE_WRONG_WEIGHTS = "import torch; torch.save(torch.nn.Linear(4, 3).state_dict(), 'w.pth')"
MAKE_FIXED_PROGRAM = (
    "import torch; program = torch.export.export(torch.nn.Linear(4, 2), (torch.zeros(2, 4),)); "
    "torch.export.save(program, 'net.pt2')"
)
MAKE_PICKLE = "import torch; torch.save(torch.nn.Linear(4, 2), 'w.pth')"
MAKE_LAMBDA = "import keras; keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x + 1)]).save('net.h5')"

CASES = {
    "missing artefact": ('[source]\npath = "net.keras"\n', {}, "", 4, "net.keras does not exist"),
    "garbage keras": ('[source]\npath = "net.keras"\n', {"net.keras": "no zip"}, "", 4, "Keras cannot read"),
    "garbage h5": ('[source]\npath = "net.h5"\n', {"net.h5": "no hdf5"}, "", 4, "Keras cannot read"),
    "garbage saved model": ('[source]\npath = "m"\n', {"m/saved_model.pb": "no"}, "", 4, "TensorFlow cannot read"),
    "garbage torchscript": (INPUT + '[source]\npath = "net.pt"\n', {"net.pt": "no"}, "", 4, "torch.jit cannot read"),
    "garbage program": ('[source]\npath = "net.pt2"\n', {"net.pt2": "no"}, "", 4, "torch.export cannot read"),
    "wrong weights": (
        FACTORY + 'weights = "w.pth"\n' + SMALL,
        {"net.py": LINEAR},
        MAKE_WRONG_WEIGHTS,
        4,
        "the weights in w.pth do not fit the module that 'net.py:build' builds: "
        "2 of another shape (bias is [3], expected [2], …)",
    ),
    "pickled code": (FACTORY + 'weights = "w.pth"\n', {"net.py": LINEAR}, MAKE_PICKLE, 4, "set trust_code = true"),
    "lambda layer": ('[source]\npath = "net.h5"\n', {}, MAKE_LAMBDA, 4, "holds code (a Lambda layer)"),
    "factory raises": (FACTORY, {"net.py": RAISES}, "", 4, "raised RuntimeError: no licence for this model"),
    "factory of the wrong type": (FACTORY, {"net.py": NOT_A_MODULE}, "", 4, "returned int, expected a torch.nn.Module"),
    "factory that is no Python": (FACTORY, {"net.py": SYNTAX}, "", 4, "cannot be imported: SyntaxError"),
    "wrong input shape": (
        FACTORY.replace("4]", "5]"),
        {"net.py": LINEAR},
        "",
        4,
        "the original model failed: RuntimeError: mat1 and mat2 shapes cannot be multiplied",
    ),
    "one row for any batch": (FACTORY + SMALL, {"net.py": FIXED}, "", 6, "has the shape [1, 4] for a batch of 2"),
    "rows that mix": (FACTORY + SMALL, {"net.py": MIXED}, "", 6, "changes in row 0 with the other rows of its batch"),
    "batch baked into the model": (
        FACTORY + SMALL,
        {"net.py": BAKED},
        "",
        4,
        "on x[1, 4], the original model failed",
    ),
    "batch baked into the graph": (
        SMALL.join(['[source]\npath = "net.pt2"\n', ""]),
        {},
        MAKE_FIXED_PROGRAM,
        6,
        "dimension 'batch' of tensor 'input' is fixed, [2, 4]",
    ),
    "bfloat16 output": (FACTORY + SMALL, {"net.py": BFLOAT}, "", 6, "bfloat16"),
    "complex output": (FACTORY + SMALL, {"net.py": COMPLEX}, "", 6, "complex64"),
    "branch on a size": (
        FACTORY.replace("4]", '"time", 4]') + SMALL,
        {"net.py": SIZED},
        "",
        7,
        "output 'output' at past a bound of the export: x[2, 65, 4]",
    ),
    "branch on a size of two inputs": (
        'inputs = [{ name = "x", dtype = "float32", shape = ["batch", "time", 4] }, '
        '{ name = "mask", dtype = "float32", shape = ["batch", "length"] }]\n'
        '[source]\nfactory = "net.py:build"\n' + SMALL,
        {"net.py": MASKED},
        "",
        7,
        "output 'output' at past a bound of the export: x[2, 65, 4], mask[2, 65]",
    ),
    "branch on two sizes being one": (
        'inputs = [{ name = "q", dtype = "float32", shape = ["batch", "queries", 4] }, '
        '{ name = "k", dtype = "float32", shape = ["batch", "keys", 4] }]\n'
        '[source]\nfactory = "net.py:build"\n' + SMALL,
        {"net.py": ALIKE},
        "",
        7,
        "output 'output' at other sizes: q[2, 6, 4], k[2, 7, 4]",
    ),
    "branch on a size of one": (
        FACTORY.replace("4]", '"time", 4]') + SMALL,
        {"net.py": SINGLE},
        "",
        7,
        "or refuse with an error a size that no caller sends",
    ),
    "branch on a value": (
        FACTORY + SMALL,
        {"net.py": VALUED},
        "",
        6,
        "takes a number or a decision out of the values of its inputs at net.py:6, `if (x > 1000).any():`",
    ),
    "parity broken": (
        FACTORY + SMALL,
        {"net.py": DIFFERS},
        "",
        7,
        "matches the original, nothing was published; dynamo fp32 came nearest: output 'output' at x[1, 4]",
    ),
}


def convert(folder: Path, repository: Path, **options):
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "conversion", "convert", str(folder), "--server", "none", "--quiet"),
            *("--repository", str(repository), "--build", str(folder.parent / "build")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        **options,
    )


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_and_the_documented_exit_code(tmp_path, case):
    spec, files, make, exit_code, sentence = CASES[case]
    folder = tmp_path / "net"
    for name, text in {"model.toml": spec, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    if make:
        subprocess.run([sys.executable, "-W", "ignore", "-c", make], cwd=folder, check=True, timeout=120)
    process = convert(folder, tmp_path / "repository")
    out, err = process.communicate(timeout=240)
    assert process.returncode == exit_code, err
    assert err.startswith("error: ")
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert out == ""
    assert Repository(tmp_path / "repository").names() == []


def test_an_interrupt_ends_with_130_and_leaves_no_process_and_no_release(tmp_path):
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "model.toml").write_text(FACTORY + SMALL)
    (folder / "net.py").write_text("import time\ntime.sleep(600)\n")
    process = convert(folder, tmp_path / "repository", start_new_session=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "build" / "work" / "net" / "original" / "source").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "interrupted; nothing more was published, and what is served stays so\n"
    assert out == ""
    assert list((tmp_path / "repository").iterdir()) == []
    # The worker of the same session is gone as well.
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
