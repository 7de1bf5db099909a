"""Lay out what Triton must find: a directory of backends, and a repository path that its shell can stand.

The Python backend starts each stub through an unquoted `bash -c`, so no path that Triton sees may hold a space or a
character that a shell reads. Files are copied: Triton refuses a file that is a symbolic link out of its backend's
directory, and it may change the mode of the stub, which must not reach the installation.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from serving.errors import PythonNotSuitable, TritonNotFound
from serving.locate import PROJECT, Installation, PythonRuntime

STAND_IN = PROJECT / "python_backend" / "onnxruntime"
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")


def lay_out_backends(
    installation: Installation, python: PythonRuntime | None, run_directory: Path, stand_in: Path = STAND_IN
) -> Path:
    """The directory for --backend-directory, made under `run_directory` unless the installation's own will do.

    `python` is the interpreter for the embedded server; a system's Python backend brings its own stub and needs none.
    The stand-in is added where no ONNX Runtime backend is installed. Raises PythonNotSuitable or TritonNotFound.
    """
    if not installation.embedded and installation.has_onnxruntime:
        return installation.backends
    target = run_directory / "backends"
    target.mkdir(parents=True)
    for backend in sorted(installation.backends.iterdir()):
        if backend.is_dir() and not (installation.embedded and backend.name == "python"):
            (target / backend.name).symlink_to(backend, target_is_directory=True)
    if installation.embedded:
        if python is None:
            raise ValueError("the embedded Triton needs a PythonRuntime")
        _python_backend(installation, python, target / "python")
    if not installation.has_onnxruntime:
        _stand_in(stand_in, target / "onnxruntime")
    return target


def _python_backend(installation: Installation, python: PythonRuntime, target: Path) -> None:
    assert installation.stubs is not None
    stub = installation.stubs / python.minor / "triton_python_backend_stub"
    if not stub.is_file():
        known = ", ".join(sorted(path.name for path in installation.stubs.iterdir())) or "none"
        raise PythonNotSuitable(
            str(python.bin_directory / "python3"),
            f"{installation.stubs} has no stub for Python {python.minor}, only for {known}",
            "set up with one of those",
        )
    utils = installation.backends / "python" / "triton_python_backend_utils.py"
    if not utils.is_file():
        raise TritonNotFound([str(utils.parent)], utils.name)
    target.mkdir()
    for source in (installation.backends / "python" / "libtriton_python.so", stub, utils):
        shutil.copy(source, target / source.name)
    (target / stub.name).chmod(0o755)


def _stand_in(source: Path, target: Path) -> None:
    modules = sorted(source.glob("*.py"))
    if not any(module.name == "model.py" for module in modules):
        raise TritonNotFound([str(source)], "stand-in for the ONNX Runtime backend (model.py)")
    target.mkdir()
    for module in modules:
        shutil.copy(module, target / module.name)


def is_plain(path: Path) -> bool:
    """Whether a shell reads the path as one word, and as it stands."""
    return _PLAIN.fullmatch(str(path)) is not None


def plain_path(path: Path, run_directory: Path) -> Path:
    """`path` itself, or a link to it from `run_directory` when a shell would not read its name as one word."""
    absolute = Path(os.path.abspath(path))
    if is_plain(absolute):
        return absolute
    link = run_directory / "models"
    link.symlink_to(absolute, target_is_directory=True)
    return link
