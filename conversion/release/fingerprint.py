"""What a release was made from, as one hash: the same hash means that converting again would change nothing."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..bundling import source_files
from ..errors import ArtefactError
from ..spec import ModelSpec

__all__ = ["fingerprint", "fingerprint_of_built", "sha256_file", "sha256_folder", "versions"]

_HOME = Path(__file__).parents[2]
# What makes and proves a release, what is copied into it, and what its report is drawn with: twins are run by the code
# of the stand-in, and its pure modules fill in config.pbtxt.
_CODE = (_HOME / "conversion", _HOME / "python_backend", _HOME / "pages")
# What it says is in the spec, where comments and order do not count.
_SPEC_FILE = "model.toml"
# Where packages lie that a version tells apart.
_INSTALLED = {"site-packages", "dist-packages"}
_PACKAGES = {
    "": ("numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxslim"),
    "tensorflow": ("tensorflow-cpu", "tensorflow", "keras", "tf_keras", "tf2onnx"),
    "torch": ("torch", "onnxscript", "safetensors"),
}


def framework(spec: ModelSpec) -> str:
    """The framework of the original: "tensorflow" or "torch"."""
    return "tensorflow" if "tf2onnx" in spec.exporters else "torch"


def versions(spec: ModelSpec) -> dict[str, str]:
    """The installed packages that decide what comes out of a conversion, and their versions."""
    found = {}
    modules = _modules(spec)
    owners = importlib.metadata.packages_distributions() if modules else {}
    own = [distribution for module in modules for distribution in owners.get(module, ())]
    for package in (*_PACKAGES[""], *_PACKAGES[framework(spec)], *own):
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
    files = source_files(spec)
    sources = {inside: sha256_file(path) for inside, path in files.items()}
    return _digest(_facts(spec, files), sources), sources


def fingerprint_of_built(
    spec: ModelSpec, before: tuple[str, dict[str, str]], copies: Path
) -> tuple[str, dict[str, str]]:
    """The same of a twin that was built since `before` was taken, out of the original's files as they lie in `copies`.

    Those may have been saved anew before they were copied: the hashes are of what was proved and is published. Where
    something else has changed meanwhile, nobody can tell which of it the proof has seen: then the first hash is one
    that no state of the files has, so that the next conversion makes it again. A generator that keeps something in the
    model's folder does that.
    """
    digest, sources = before
    files: dict[str, Path] = {}
    facts: dict[str, Any] = {}
    # A file may be gone, or just be put in its place.
    with contextlib.suppress(ArtefactError, OSError):
        files = source_files(spec)
        facts = _facts(spec, files)
    if _digest(facts, sources) != digest:
        facts["changed since"] = digest
    # What a factory writes beside its copy is not the original's.
    copied = [inside for inside in sorted({*sources, *files}) if (copies / inside).is_file()]
    sources = {inside: sha256_file(copies / inside) for inside in copied}
    return _digest(facts, sources), sources


def _facts(spec: ModelSpec, files: Mapping[str, Path]) -> dict[str, Any]:
    """All that a release is made from but the original's own `files`."""
    # Weights may be gigabytes: they are read once.
    hashed = {path.resolve() for path in files.values()}
    return {
        "spec": {key: value for key, value in asdict(spec).items() if key != "folder"},
        # A generator or factory may import its neighbours and read what lies beside it: all of it counts.
        "folder": _hashes(spec.folder, (path for path in _files(spec) if path.resolve() not in hashed)),
        "modules": _hashes(_HOME, (path for module in _modules(spec) for path in _unversioned(module))),
        "code": _hashes(_HOME, (path for folder in _CODE for path in _below(folder))),
        "versions": versions(spec),
    }


def _digest(facts: Mapping[str, Any], sources: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps({**facts, "source": sources}, sort_keys=True).encode()).hexdigest()


def _callables(spec: ModelSpec) -> list[str]:
    """Where each callable of the spec comes from: a file, or a module."""
    given = (spec.source.factory, spec.samples.generator, spec.accuracy.generator, spec.accuracy.metric)
    return [place for place, found, _ in (reference.partition(":") for reference in given) if found]


def _modules(spec: ModelSpec) -> list[str]:
    """The top-level modules that callables of the spec come from."""
    return sorted({place.partition(".")[0] for place in _callables(spec) if not place.endswith(".py")})


def _unversioned(module: str) -> Iterator[Path]:
    """The code of a module that no version tells from an older one: it is not installed, or editable where it lies."""
    try:
        # A top-level module is found without importing it.
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return
    for folder in map(Path, found.submodule_search_locations or () if found else ()):
        if not _INSTALLED & set(folder.parts):
            yield from folder.rglob("*.py")
    if found and found.has_location and found.origin and not _INSTALLED & set(Path(found.origin).parts):
        yield Path(found.origin)


def _files(spec: ModelSpec) -> set[Path]:
    """The files that the spec names, wherever they lie, and those below the model's folder."""
    named = [place for place in _callables(spec) if place.endswith(".py")]
    named += [place for place in (spec.samples.file, spec.accuracy.file) if place]
    return {*(spec.folder / place for place in named), *_below(spec.folder)} - {spec.folder / _SPEC_FILE}


def _below(folder: Path) -> Iterator[Path]:
    for directory, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _left_out(name)]
        yield from (Path(directory, name) for name in names if not _left_out(name))


def _left_out(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"


def _hashes(root: Path, paths: Iterable[Path]) -> dict[str, str]:
    return {os.path.relpath(path, root): sha256_file(path) for path in sorted(paths) if path.is_file()}
