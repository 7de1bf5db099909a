"""`python -m serving.doctor`: what is wrong with this machine, and what to do about it.

Runs on the standard library alone, before anything is installed. A line for each check, OK, WARN or FAIL; exit code 1
when one of them is FAIL, else 0.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from python_backend.limits import available_cores, available_memory
from serving import gpu
from serving.elf import missing_libraries
from serving.errors import NoRunDirectory, PortNotOpened, PortTaken, PythonNotSuitable, TritonNotFound
from serving.locate import PROJECT, find_installation, find_python
from serving.ports import choose
from serving.run_directory import complaint, find_place, run_places
from serving.shared_memory import SHM

OK, WARN, FAIL = "OK", "WARN", "FAIL"
PINNED = PROJECT / "requirements" / "pinned.txt"
_GIB = 1 << 30
_PYTHONS = ("3.11", "3.12")


@dataclass(frozen=True)
class Finding:
    """One line of the report. `remedy` is empty when there is nothing to do."""

    verdict: str
    subject: str
    found: str
    remedy: str = ""

    def line(self) -> str:
        """As it is printed."""
        advice = f" -> {self.remedy}" if self.remedy else ""
        return f"{self.verdict:<4}  {self.subject:<10}  {self.found}{advice}"


def check_python() -> Iterator[Finding]:
    """The interpreter: its minor, and the shared library that Triton's stub loads."""
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    if minor in _PYTHONS:
        yield Finding(OK, "python", f"{sys.executable} is Python {minor}")
    else:
        yield Finding(
            FAIL,
            "python",
            f"{sys.executable} is Python {minor}",
            f"use Python {' or '.join(_PYTHONS)}, best {_PYTHONS[0]}",
        )
    if sys.prefix == sys.base_prefix:
        yield Finding(WARN, "venv", "no virtual environment is active", "run `make setup`, then .venv/bin/python")
    try:
        yield Finding(OK, "libpython", str(find_python().libpython))
    except PythonNotSuitable as error:
        yield Finding(FAIL, "libpython", str(error))


def check_packages(pinned: Path = PINNED) -> Iterator[Finding]:
    """What is installed, against the pinned set. Packages that are not installed are counted, not failed."""
    wanted = dict(_pins(pinned))
    installed = {name: version for name in wanted if (version := _version(name)) is not None}
    differing = [
        f"{name} {installed[name]} (pinned {wanted[name]})" for name in installed if installed[name] != wanted[name]
    ]
    numpy = installed.get("numpy") or _version("numpy")
    if numpy is not None and not numpy.startswith("1."):
        yield Finding(
            FAIL, "numpy", f"numpy {numpy}: the embedded Triton's stub reads its arrays wrongly", "install numpy 1.26"
        )
    if "tritonclient" not in installed:
        yield Finding(FAIL, "packages", "the project's packages are not installed here", "run `make setup`")
    elif differing:
        yield Finding(WARN, "packages", f"not the pinned versions: {', '.join(differing)}", "run `make setup`")
    elif len(installed) < len(wanted):
        yield Finding(OK, "packages", f"{len(installed)} of {len(wanted)} pinned packages are installed")
    else:
        yield Finding(OK, "packages", f"all {len(wanted)} pinned packages are installed")


def _pins(pinned: Path) -> Iterator[tuple[str, str]]:
    for line in pinned.read_text(encoding="utf-8").splitlines():
        name, separator, version = line.partition("#")[0].strip().partition("==")
        if separator:
            yield name, version


def _version(name: str) -> str | None:
    try:
        # "2.13.0+cpu" is a build of 2.13.0.
        return importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def check_triton(environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """The server that would be started, and the shared libraries that it would not find."""
    try:
        installation = find_installation(environ)
    except TritonNotFound as error:
        yield Finding(FAIL, "triton", str(error))
        return
    yield Finding(OK, "triton", f"{installation.binary} ({'embedded' if installation.embedded else 'of the system'})")
    missing = missing_libraries(installation.binary, installation.libraries)
    if missing:
        yield Finding(
            FAIL,
            "triton",
            f"its shared libraries {', '.join(missing)} are missing",
            "install the packages that have them",
        )
    if shutil.which("bash") is None:
        yield Finding(FAIL, "bash", "not on PATH; Triton starts each Python model through it", "install bash")


def check_memory() -> Iterator[Finding]:
    """Room in /dev/shm, memory and disk."""
    try:
        yield _room("/dev/shm", shutil.disk_usage(SHM).free, 2, "in Docker: --shm-size 4g")
    except OSError as error:
        remedy = "mount it: mount -t tmpfs -o size=4g tmpfs /dev/shm"
        yield Finding(FAIL, "/dev/shm", f"Triton's Python models need it, and it is not there: {error}", remedy)
    yield _room("memory", available_memory(), 4, "convert one model at a time, or add memory")
    yield _room("disk", shutil.disk_usage(PROJECT).free, 8, "TensorFlow, torch and Triton take about 7 GiB")


def _room(subject: str, free: int, least_gib: int, remedy: str) -> Finding:
    found = f"{free / _GIB:.1f} GiB free"
    if free < least_gib * _GIB:
        return Finding(WARN, subject, f"{found}, less than {least_gib}", remedy)
    return Finding(OK, subject, found)


def check_run_directory(environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Where Triton's Python backend is laid out. The embedded one's programs run from there."""
    try:
        programs = find_installation(environ).embedded
    except TritonNotFound:
        programs = True
    places = run_places()
    try:
        found = find_place(places, programs=programs)
    except NoRunDirectory as error:
        yield Finding(FAIL, "temporary", str(error))
        return
    unfit = "" if found == places[0] else f"{complaint(places[0], programs=programs)}: in its place, "
    yield Finding(OK, "temporary", f"{unfit}{found}")


def check_gpu() -> Iterator[Finding]:
    """Whether the embedded Triton serves on a GPU that is here."""
    if not gpu.present():
        yield Finding(OK, "gpu", "none: everything runs on the CPU")
    elif gpu.onnxruntime_knows_it():
        yield Finding(OK, "gpu", "one of NVIDIA's, which ONNX Runtime can use")
    else:
        yield Finding(
            WARN,
            "gpu",
            "one of NVIDIA's, which this ONNX Runtime cannot use: the embedded Triton serves on the CPU",
            "install onnxruntime-gpu instead of onnxruntime (docs/conversion.md, On a GPU)",
        )


def check_ports(ports: Mapping[str, int | None] | None = None) -> Iterator[Finding]:
    """The default ports of `make serve`."""
    for service, port in (ports or {"http": 8000, "grpc": 8001, "metrics": 8002, "watch": 8003}).items():
        try:
            choose({service: port})
        except (PortTaken, PortNotOpened) as error:
            yield Finding(WARN, f"port {port}", str(error))
        else:
            yield Finding(OK, f"port {port}", f"free ({service})")


def check_cores() -> Iterator[Finding]:
    """Cores of the machine, and those that this process may use."""
    usable, machine = available_cores(), os.cpu_count() or 1
    found = f"{usable} of {machine} usable" + (" (affinity or cgroup limit)" if usable < machine else "")
    if usable < 2:
        yield Finding(WARN, "cores", found, "a hybrid and its twin share one core: figures will be poor")
    else:
        yield Finding(OK, "cores", found)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_packages,
    check_triton,
    check_memory,
    check_run_directory,
    check_gpu,
    check_ports,
    check_cores,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; return 1 when a check failed, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.doctor",
        description="Tell what is wrong with this machine.",
        epilog="exit codes: 0 no check failed, 1 one did, 2 usage",
    )
    parser.parse_args(argv)
    findings = [finding for check in CHECKS for finding in check()]
    sys.stdout.writelines(f"{finding.line()}\n" for finding in findings)
    return int(any(finding.verdict == FAIL for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
