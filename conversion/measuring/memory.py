"""How much memory a model takes in a process of its own: `python -m conversion.measuring.memory PARENT KIND PATH …`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np

from python_backend.original.loading import Device, load
from python_backend.strings import packed, unpacked

from ..ending import end_with_parent
from ..errors import MeasuringFailed
from ..profiles import ON_CPU, Profile
from ..proof.parity import Twin
from ..proof.samples import Batch

__all__ = ["peak_memory_mb"]

# Some allocators plan for a shape once they have seen it.
_RUNS = 3
# An input may be called as an argument of numpy.savez.
_INPUT = "input"


def peak_memory_mb(
    kind: str,
    path: Path,
    row: Batch,
    sizes: Sequence[int],
    *,
    threads: int,
    where: Profile = ON_CPU,
    padded: Sequence[int] = (),
) -> float:
    """Peak resident memory in MB (10^6 bytes) of a process that loads one model and runs it at each batch size.

    `kind` is "original" (`path` is a bundle) or "twin" (an ONNX file); `row` is one row of each input, repeated for
    larger batches, and on CUDA filled up to one of the sizes in `padded`. Raises MeasuringFailed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "row.npz"
        np.savez(file, **packed(_INPUT, row))
        profile = json.dumps(asdict(where) | {"padded": list(padded)})
        given = [str(os.getpid()), kind, str(path), str(file), str(threads), profile, *map(str, sizes)]
        done = subprocess.run(
            [sys.executable, "-m", __name__, *given],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
        )
    if done.returncode != 0:
        raise MeasuringFailed(kind, done.returncode, done.stderr)
    return float(done.stdout.split()[-1])


class _Runs(Protocol):
    def run(self, arrays: Batch) -> object: ...


def main(kind: str, path: str, row_file: str, threads: str, profile: str, *sizes: str) -> int:
    """Load, run, and print the peak."""
    with np.load(row_file) as archive:
        row = unpacked(archive)[_INPUT]
    given = json.loads(profile)
    where = Profile(tuple((name, options) for name, options in given["providers"]), given["gpu"])
    if kind == "original":
        model: _Runs = load(Path(path), Device(int(threads), where.gpu))
    else:
        model = Twin(path, int(threads), where.providers, given["padded"])
    for size in map(int, sizes):
        batch = {name: np.repeat(array, size, axis=0) if size > 1 else array for name, array in row.items()}
        for _ in range(_RUNS):
            model.run(batch)
    # Not `getrusage`: its peak is inherited from the parent, which holds two models.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    sys.stdout.write(f"{int(peak) * 1024 / 1e6}\n")
    return 0


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    sys.exit(main(*sys.argv[2:]))
