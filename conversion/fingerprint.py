"""What a release was made from, as one hash: the same hash means that converting again would change nothing."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from .bundling import source_files
from .spec import ModelSpec

__all__ = ["fingerprint", "sha256_file", "sha256_folder", "versions"]

_HOME = Path(__file__).parents[1]
_CODE = (_HOME / "conversion", _HOME / "python_backend" / "original", _HOME / "python_backend" / "hybrid")
_READ = ("*.py", "*.npz", "*.npy")
_PACKAGES = {
    "": ("numpy", "onnx", "onnxruntime", "onnxslim"),
    "tensorflow": ("tensorflow-cpu", "tensorflow", "keras", "tf_keras", "tf2onnx"),
    "torch": ("torch", "onnxscript", "safetensors"),
}


def framework(spec: ModelSpec) -> str:
    """The framework of the original: "tensorflow" or "torch"."""
    return "tensorflow" if "tf2onnx" in spec.exporters else "torch"


def versions(spec: ModelSpec) -> dict[str, str]:
    """The installed packages that decide what comes out of a conversion, and their versions."""
    found = {}
    for package in (*_PACKAGES[""], *_PACKAGES[framework(spec)]):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_folder(folder: Path) -> str:
    """The SHA-256 of the names and contents of all files in a folder, in hexadecimal."""
    return hashlib.sha256(json.dumps(_hashes(folder, folder.rglob("*"))).encode()).hexdigest()


def fingerprint(spec: ModelSpec) -> tuple[str, dict[str, str]]:
    """The hash of all that a release is made from, and the hashes of the original's files. Raises ArtefactError."""
    sources = {inside: sha256_file(path) for inside, path in source_files(spec).items()}
    facts = {
        "spec": {key: value for key, value in asdict(spec).items() if key != "folder"},
        "source": sources,
        # A generator or factory may import its neighbours and read arrays beside it: all of them count.
        "folder": _hashes(spec.folder, (path for kind in _READ for path in spec.folder.rglob(kind))),
        "code": _hashes(_HOME, (path for folder in _CODE for path in folder.rglob("*.py"))),
        "versions": versions(spec),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest(), sources


def _hashes(root: Path, paths: Iterable[Path]) -> dict[str, str]:
    return {os.path.relpath(path, root): sha256_file(path) for path in sorted(paths) if path.is_file()}
