"""A small release without a framework: a real ONNX twin, and an original whose loader computes with NumPy."""

import json
from pathlib import Path

import numpy as np
import onnx

from conversion.interface import Facts
from conversion.proof.parity import Case
from conversion.publishing.repository import Repository
from conversion.release.evidence import EVIDENCE
from conversion.release.fingerprint import sha256_file
from conversion.release.golden import GOLDEN, write_golden
from conversion.release.pbtxt import model_configs
from conversion.report.release import REPORT

X = (Facts("x", "float32", ("batch", 4)),)
Y = (Facts("y", "float32", ("batch", 4)),)
# What a version directory of an original holds of our own: a package with `load` and `Device`.
LOADING = """
import dataclasses
import numpy as np

@dataclasses.dataclass
class Device:
    threads: int

def load(directory, device):
    return Model((directory / "source" / "weights").read_text())

class Model:
    def __init__(self, weights):
        self.weights = np.array(weights.split(), np.float32)

    def run(self, arrays):
        return {"y": np.maximum(arrays["x"] * self.weights, 0)}
"""


def release(repository, spec, graph, *, fingerprint="", **options) -> int:
    """Publish y = relu(x * w) as release of `spec`, made of what has this fingerprint; gives its number."""
    staged = repository.stage(spec.name)
    onnx.save(graph, str(staged / "onnx" / "model.onnx"))
    (staged / "original" / "source").mkdir()
    for file, text in {"__init__.py": "", "loading.py": LOADING, "source/weights": "1 2 3 4"}.items():
        (staged / "original" / file).write_text(text)
    x = np.arange(-4, 4, dtype=np.float32).reshape(2, 4)
    write_golden(Case({"x": x}, {"y": np.maximum(x * np.float32([1, 2, 3, 4]), 0)}), staged / "hybrid" / GOLDEN)
    (staged / "hybrid" / "model.py").write_text("# the hybrid")
    files = {path.relative_to(staged).as_posix(): sha256_file(path) for path in staged.rglob("*") if path.is_file()}
    evidence = {"fingerprint": fingerprint, "files": files, "parity": {"atol": 1e-4, "rtol": 1e-3}}
    (staged / "hybrid" / EVIDENCE).write_text(json.dumps(evidence))
    (staged / "hybrid" / REPORT).write_text("<!DOCTYPE html>")
    return repository.publish(spec.name, staged, model_configs(spec, X, Y), **options)


def released(root: Path, spec, graph, releases: int = 1) -> Repository:
    """A repository at `root` with so many releases of `spec`, the last one served; it is not locked."""
    made = Repository(root)
    with made.locked():
        for _ in range(releases):
            release(made, spec, graph)
    return made


def flip(path: Path, position: int = 0) -> None:
    """Flip one bit of a file, in the byte at `position`."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
