"""NVIDIA's perf_analyzer for tests, in build/: newer tritonclients carry it no more, so it is taken from one that does.

The wheel brings the binary alone. Of its libraries, OpenSSL 3, zlib and the C++ runtime are the system's; CUDA's and
libb64 are those of the embedded Triton, which has them under names of its own: links give them the usual ones.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .programs import alone

ROOT = Path(__file__).parents[1]
HOME = ROOT / "build" / "perf_analyzer"
TRITON_LIBRARIES = ROOT / "build" / "triton" / "nvidia_pytriton.libs"
# The last release whose wheel holds it.
REQUIREMENT = "tritonclient==2.45.0"
_MEMBER = re.compile(r"tritonclient-[^/]+\.data/data/bin/perf_analyzer")
_LENT = {"libcudart.so.12": "libcudart-*.so.12.*", "libb64.so.0d": "libb64-*.so.0d"}
_TIMEOUT_S = 240.0


class PerfAnalyzerMissing(Exception):
    """perf_analyzer cannot be brought here, or does not run here."""

    def __init__(self, why: str) -> None:
        super().__init__(f"perf_analyzer cannot be run: {why}; it comes from the wheel of {REQUIREMENT}")


@dataclass(frozen=True)
class PerfAnalyzer:
    """The program, and where its libraries are."""

    binary: Path
    libraries: Path

    def run(self, *arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run it to its end, whatever that is."""
        return subprocess.run(
            [self.binary, *arguments],
            env={**os.environ, "LD_LIBRARY_PATH": str(self.libraries)},
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )


def perf_analyzer(home: Path = HOME, lender: Path = TRITON_LIBRARIES) -> PerfAnalyzer:
    """Bring perf_analyzer once into `home`; safe to call in several processes at once. Raises PerfAnalyzerMissing."""
    found = PerfAnalyzer(home / "perf_analyzer", home / "lib")
    with alone(home):
        if not found.binary.is_file():
            with tempfile.TemporaryDirectory(dir=home) as made:
                _unpack(_wheel(Path(made)), Path(made) / "perf_analyzer")
                (Path(made) / "perf_analyzer").rename(found.binary)
        _lend(lender, found.libraries)
    if missing := _missing(found):
        raise PerfAnalyzerMissing(f"the system lacks {', '.join(missing)}")
    return found


def _wheel(folder: Path) -> Path:
    """Fetch the wheel from wherever pip is configured to."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), REQUIREMENT]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_TIMEOUT_S)
    if done.returncode:
        raise PerfAnalyzerMissing((done.stderr.strip().splitlines() or ["pip said nothing"])[-1])
    return next(folder.glob("*.whl"))


def _unpack(wheel: Path, binary: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (name for name in archive.namelist() if _MEMBER.fullmatch(name))
        binary.write_bytes(archive.read(member))
    binary.chmod(0o755)


def _lend(lender: Path, libraries: Path) -> None:
    libraries.mkdir(exist_ok=True)
    for name, pattern in _LENT.items():
        lent = next(lender.glob(pattern), None)
        if lent is None:
            raise PerfAnalyzerMissing(f"there is no {pattern} in {lender}: run `make setup`")
        link = libraries / name
        if not link.exists() or link.resolve() != lent.resolve():
            link.unlink(missing_ok=True)
            link.symlink_to(lent.resolve())


def _missing(found: PerfAnalyzer) -> list[str]:
    """The libraries that the loader does not find; the loader itself is asked, as `ldd` asks it."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(found.libraries), "LD_TRACE_LOADED_OBJECTS": "1"}
    try:
        done = subprocess.run([found.binary], env=environment, check=False, capture_output=True, text=True, timeout=20)
    except OSError as error:
        raise PerfAnalyzerMissing(f"the system cannot execute it ({error.strerror})") from error
    return re.findall(r"^\s*(\S+) => not found", done.stdout, re.MULTILINE)
