"""An environment of its own for each ONNX Runtime, and the loading of a graph in it.

The environments lie under one folder as onnxruntime-VERSION, and are kept. Each holds onnxruntime and NumPy alone: what
else onnxruntime asks for serves tools that are not used here.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from python_backend.strings import as_bytes

__all__ = ["Environments", "Loaded", "load_in"]

_NUMPY = "numpy<2"
_INSTALL_S = 600
_LOAD_S = 600
_START_S = 60
_PROBE = Path(__file__).with_name("probe.py")
# How ONNX Runtime begins its messages: the exception, the status by number and by name.
_STATUS = re.compile(r"^\w+: \[ONNXRuntimeError\] : \d+ : \w+ : ")


@dataclass(frozen=True)
class Loaded:
    """What became of a graph in an ONNX Runtime. `facts` is what probe.py says; `failure` is None where it ran.

    `outputs` has each output by name, strings as bytes.
    """

    facts: Mapping[str, Any]
    outputs: Mapping[str, NDArray[Any]]
    failure: str | None = None


class Environments:
    """The environments below `folder`, made when they are first asked for, and anew where they no longer work.

    `missing` has a sentence for each version that could not be had; it is not tried again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.missing: dict[str, str] = {}

    def python(self, version: str) -> Path | None:
        """The Python of the environment that holds onnxruntime `version`, None where that cannot be installed."""
        home = self._folder / f"onnxruntime-{version}"
        if version not in self.missing and not _works(home):
            try:
                cause = self._make(home, version)
            except OSError as error:
                cause = f"{error.filename or home}: {error.strerror or error}"
            if cause:
                self.missing[version] = (
                    f"onnxruntime {version} cannot be installed for Python {platform.python_version()} ({cause}); no "
                    "graph was loaded in it, and the static checks alone count"
                )
        return None if version in self.missing else _python(home)

    def _make(self, home: Path, version: str) -> str | None:
        """Make an environment; gives the reason why it could not be made."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # Made under another name and moved: what bears the name is whole, whoever was interrupted.
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=f".{home.name}-") as scratch:
            made = Path(scratch) / "environment"
            pip = [sys.executable, "-m", "pip", "--python", str(_python(made)), "--disable-pip-version-check"]
            cause = _run([sys.executable, "-m", "venv", "--without-pip", str(made)]) or _run(
                [*pip, "install", "--quiet", "--no-deps", f"onnxruntime=={version}", _NUMPY]
            )
            if cause is None and not _works(home):
                # One whose Python is gone: it was updated, or the folder came from another machine.
                if os.path.lexists(home):
                    home.rename(Path(scratch) / "broken")
                try:
                    made.rename(home)
                except OSError:
                    # Another process was faster; its environment is as good.
                    if not _works(home):
                        raise
            return cause


def _works(home: Path) -> bool:
    """Whether the environment has a Python that starts, and knows of an ONNX Runtime."""
    asked = "import importlib.util, sys; sys.exit(importlib.util.find_spec('onnxruntime') is None)"
    try:
        command = [str(_python(home)), "-I", "-c", asked]
        return subprocess.run(command, capture_output=True, timeout=_START_S, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _python(home: Path) -> Path:
    return home / "bin" / "python"


def _run(command: list[str]) -> str | None:
    """Run a step of the making; gives why it failed."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_INSTALL_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {_INSTALL_S} s"
    except OSError as error:
        return f"{command[0]} cannot be started: {error.strerror or error}"
    return _cause(done.stderr) if done.returncode else None


def _cause(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["pip gave no reason"])[-1]


def load_in(python: Path, model: Path, inputs: Mapping[str, NDArray[Any]]) -> Loaded:
    """Load `model` in the ONNX Runtime of `python`, in a process of its own, and run it on one batch."""
    with tempfile.TemporaryDirectory(prefix="preflight-") as scratch:
        folder = Path(scratch)
        request = {"model": str(model.resolve()), "inputs": list(inputs)}
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        np.savez(folder / "inputs.npz", **{f"input_{n}": _storable(array) for n, array in enumerate(inputs.values())})
        command = [str(python), "-I", "-B", str(_PROBE), scratch]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=_LOAD_S, check=False
            )
        except subprocess.TimeoutExpired:
            return Loaded({}, {}, f"it did not end within {_LOAD_S} s")
        except OSError as error:
            return Loaded({}, {}, f"{python} cannot be started: {error.strerror or error}")
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return Loaded({}, {}, f"its process ended with {done.returncode}: {last}")
        facts = json.loads(done.stdout)
        if "error" in facts:
            return Loaded(facts, {}, _STATUS.sub("", facts["error"].splitlines()[0]))
        with np.load(folder / "outputs.npz", allow_pickle=False) as archive:
            outputs = {fact["name"]: archive[f"output_{n}"] for n, fact in enumerate(facts["ran"])}
        return Loaded(facts, outputs)


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    """The array as the probe reads it, which knows NumPy alone: strings as bytes of one width."""
    if array.dtype.kind not in "OU":
        return array
    return np.array([as_bytes(value) for value in array.flat], np.bytes_).reshape(array.shape)
