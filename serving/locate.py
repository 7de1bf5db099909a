"""Find a Triton server on this machine, and the Python that its Python backend needs.

A server of the system comes first (NVIDIA's image has its own, with the C++ backends); then the embedded one, the
unpacked nvidia-pytriton wheel in build/triton. UNDERSTUDY_TRITON names a directory of either kind and is then the only
place that is searched.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.errors import PythonNotSuitable, TritonNotFound

PROJECT = Path(__file__).resolve().parent.parent
EMBEDDED = PROJECT / "build" / "triton"
SYSTEM = Path("/opt/tritonserver")
OVERRIDE = "UNDERSTUDY_TRITON"


@dataclass(frozen=True)
class Installation:
    """Where the parts of one Triton lie. `stubs` is set for the embedded one alone: a stub per Python minor."""

    binary: Path
    backends: Path
    caches: Path
    libraries: tuple[Path, ...]
    stubs: Path | None

    @property
    def embedded(self) -> bool:
        """True for the unpacked wheel, whose Python backend still has to be laid out."""
        return self.stubs is not None

    @property
    def has_onnxruntime(self) -> bool:
        """True where Triton's own C++ ONNX Runtime backend is installed, and the stand-in is not needed."""
        return (self.backends / "onnxruntime").is_dir()

    @property
    def in_processes(self) -> frozenset[str]:
        """The backends each of whose instances is a process: the Python backend, and the stand-in, which runs in it."""
        return frozenset({"python"} if self.has_onnxruntime else {"python", "onnxruntime"})


@dataclass(frozen=True)
class PythonRuntime:
    """The interpreter that the stub embeds: its minor, its shared library and the `python3` that finds its packages."""

    minor: str
    bin_directory: Path
    libpython: Path


def find_installation(environ: Mapping[str, str], *, embedded: Path = EMBEDDED, system: Path = SYSTEM) -> Installation:
    """The Triton to start. Raises TritonNotFound naming every place that was searched, or the part that is missing."""
    override = environ.get(OVERRIDE)
    if override:
        found = _at(Path(override).expanduser().resolve())
        if found is None:
            raise TritonNotFound([f"{override} ({OVERRIDE})"])
        return found
    searched = []
    for root in _places(environ, embedded, system):
        found = _at(root)
        if found is not None:
            return found
        searched.append(str(root))
    raise TritonNotFound(["PATH", *searched])


def _places(environ: Mapping[str, str], embedded: Path, system: Path) -> Iterator[Path]:
    on_path = shutil.which("tritonserver", path=environ.get("PATH", ""))
    if on_path:
        yield Path(on_path).resolve().parent.parent
    yield system
    yield embedded


def _at(root: Path) -> Installation | None:
    """The installation under `root`, or None when there is none at all; a half one raises TritonNotFound."""
    unpacked = root / "pytriton" / "tritonserver"
    embedded = (unpacked / "bin" / "tritonserver").is_file()
    home = unpacked if embedded else root
    binary = home / "bin" / "tritonserver"
    if not binary.is_file():
        return None
    backends = home / "backends"
    if not (backends / "python" / "libtriton_python.so").is_file():
        raise TritonNotFound([str(backends)], "Python backend (python/libtriton_python.so)")
    own = (root / "nvidia_pytriton.libs",) if embedded else (home / "lib",)
    return Installation(
        binary=binary,
        backends=backends,
        caches=home / "caches",
        libraries=tuple(path for path in own if path.is_dir()),
        stubs=home / "python_backend_stubs" if embedded else None,
    )


def find_python() -> PythonRuntime:
    """The running interpreter as the stub needs it. Raises PythonNotSuitable when it has no shared library."""
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    # Not resolved: in a virtual environment this very path is what leads to its packages.
    bin_directory = Path(sys.executable).parent
    if not (bin_directory / "python3").exists():
        raise PythonNotSuitable(
            sys.executable, f"{bin_directory} holds no python3", "use a virtual environment, for example `make setup`"
        )
    soname = f"libpython{minor}.so.1.0"
    for directory in _library_directories():
        if (directory / soname).is_file():
            return PythonRuntime(minor, bin_directory, directory / soname)
    raise PythonNotSuitable(
        sys.executable,
        f"it has no shared library {soname}",
        f"install libpython{minor} (Debian, Ubuntu), or build Python with --enable-shared, and set up again",
    )


def _library_directories() -> Iterator[Path]:
    variables = sysconfig.get_config_vars()
    library = variables.get("LIBDIR")
    if library:
        yield Path(library)
        if variables.get("MULTIARCH"):
            yield Path(library) / str(variables["MULTIARCH"])
    yield Path(sys.base_prefix) / "lib"
    for known in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/local/lib"):
        yield Path(known)
