"""What the doctor finds."""

import errno
import importlib.metadata
import socket
import subprocess
import venv
from pathlib import Path

import pytest

from serving import doctor, gpu
from serving.doctor import FAIL, OK, WARN, Finding
from serving.elf import missing_libraries
from serving.errors import PortNotOpened


def write_pins(tmp_path: Path, *lines: str) -> Path:
    (tmp_path / "pinned.txt").write_text("# a comment\n" + "".join(f"{line}\n" for line in lines))
    return tmp_path / "pinned.txt"


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr("importlib.metadata.version", version)


def test_the_pinned_packages_are_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, numpy="1.26.4", tritonclient="2.73.0", torch="2.13.0+cpu")
    pins = write_pins(tmp_path, "numpy==1.26.4", "tritonclient==2.73.0", "torch==2.13.0")
    assert [finding.verdict for finding in doctor.check_packages(pins)] == [OK]


def test_other_versions_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, tritonclient="2.60.0")
    (finding,) = doctor.check_packages(write_pins(tmp_path, "tritonclient==2.73.0", "locust==2.47.0"))
    assert finding.verdict == WARN
    assert "tritonclient 2.60.0 (pinned 2.73.0)" in finding.found


def test_numpy_2_fails_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, numpy="2.1.0", tritonclient="2.73.0")
    findings = list(doctor.check_packages(write_pins(tmp_path, "tritonclient==2.73.0", "numpy==1.26.4")))
    assert (findings[0].verdict, findings[0].subject, findings[0].remedy) == (FAIL, "numpy", "install numpy 1.26")


def test_nothing_installed_fails_with_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    (finding,) = doctor.check_packages(write_pins(tmp_path, "tritonclient==2.73.0"))
    assert (finding.verdict, finding.remedy) == (FAIL, "run `make setup`")


def test_no_triton_fails_and_names_the_places(tmp_path: Path) -> None:
    (finding,) = doctor.check_triton({"UNDERSTUDY_TRITON": str(tmp_path)})
    assert finding.verdict == FAIL
    assert str(tmp_path) in finding.found


def test_a_taken_port_warns_and_names_the_holder() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        (finding,) = doctor.check_ports({"http": held.getsockname()[1]})
    assert finding.verdict == WARN
    assert "is taken by process" in finding.found


def test_a_port_that_the_system_does_not_give_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(_: object) -> None:
        raise PortNotOpened("http", 80, PermissionError(errno.EACCES, "Permission denied"))

    monkeypatch.setattr(doctor, "choose", choose)
    (finding,) = doctor.check_ports({"http": 80})
    assert finding.verdict == WARN
    assert "Permission denied" in finding.found


def test_one_failure_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([Finding(WARN, "a", "b"), Finding(OK, "c", "d")]),))
    assert doctor.main([]) == 0
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([Finding(FAIL, "disk", "full", "make room")]),))
    assert doctor.main([]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "FAIL  disk        full -> make room"


def test_this_machines_own_report_has_a_line_for_each_subject() -> None:
    subjects = [finding.subject for check in doctor.CHECKS for finding in check()]
    for subject in (
        "python",
        "libpython",
        "packages",
        "triton",
        "/dev/shm",
        "memory",
        "disk",
        "temporary",
        "port 8000",
        "cores",
    ):
        assert subject in subjects


def test_a_binary_whose_libraries_are_there_misses_none() -> None:
    assert missing_libraries(Path("/bin/sh"), []) == []


def test_a_library_that_the_environment_finds_is_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is started with that path after the folders of its own."""
    asked: list[str] = []

    def loader(command: list[str], *, env: dict[str, str], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(env["LD_LIBRARY_PATH"])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("serving.elf.subprocess.run", loader)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/cuda:/opt/more")
    assert missing_libraries(tmp_path / "tritonserver", [Path("/t/libs"), Path("/t/bin")]) == []
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert missing_libraries(tmp_path / "tritonserver", [Path("/t/libs")]) == []
    assert asked == ["/t/libs:/t/bin:/opt/cuda:/opt/more", "/t/libs"]


def test_a_binary_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "tritonserver").write_text("not a program")
    (tmp_path / "tritonserver").chmod(0o755)
    (only,) = missing_libraries(tmp_path / "tritonserver", [])
    assert "tritonserver" in only


def test_a_machine_without_shared_memory_fails_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SHM", tmp_path / "shm")
    shm, *others = doctor.check_memory()
    assert (shm.verdict, shm.subject) == (FAIL, "/dev/shm")
    assert "mount -t tmpfs" in shm.remedy
    assert [one.subject for one in others] == ["memory", "disk"]


def test_a_folder_for_temporary_files_that_triton_cannot_run_from_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my files").mkdir()
    (tmp_path / "file").touch()
    spaced, nowhere = tmp_path / "my files", tmp_path / "file" / "build"
    monkeypatch.setattr(doctor, "run_places", lambda: (tmp_path, nowhere))
    assert list(doctor.check_run_directory({})) == [Finding(OK, "temporary", str(tmp_path))]
    monkeypatch.setattr(doctor, "run_places", lambda: (spaced, tmp_path))
    (finding,) = doctor.check_run_directory({})
    assert finding.verdict == OK
    assert finding.found == f"'{spaced}' has a character in it that a shell would read: in its place, {tmp_path}"
    monkeypatch.setattr(doctor, "run_places", lambda: (spaced, nowhere))
    (finding,) = doctor.check_run_directory({})
    assert finding.verdict == FAIL
    assert "set TMPDIR to one" in finding.found


@pytest.mark.parametrize(
    ("here", "build", "verdict", "found"),
    [
        (False, False, OK, "none: everything runs on the CPU"),
        (True, True, OK, "which ONNX Runtime can use"),
        (True, False, WARN, "the embedded Triton serves on the CPU"),
    ],
)
def test_a_gpu_that_onnx_runtime_cannot_use_is_told(
    here: bool, build: bool, verdict: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "nvidiactl"
    if here:
        device.touch()
    monkeypatch.setattr(gpu.present, "__defaults__", (device,))
    monkeypatch.setattr(gpu, "onnxruntime_knows_it", lambda: build)
    (finding,) = doctor.check_gpu()
    assert (finding.verdict, found in finding.found) == (verdict, True)


@pytest.mark.parametrize(
    ("providers", "knows"),
    [(["CPUExecutionProvider"], False), (["CUDAExecutionProvider", "CPUExecutionProvider"], True), (None, False)],
)
def test_the_onnx_runtime_that_is_imported_decides_and_no_list_of_packages(
    providers: list[str] | None, knows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both builds in one environment share a folder: the one that was installed later is the one there is."""
    venv.create(tmp_path / "venv", symlinks=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    for package in ("onnxruntime-1.32.0", "onnxruntime_gpu-1.31.1"):
        (site / f"{package}.dist-info").mkdir()
        (site / f"{package}.dist-info" / "METADATA").write_text(f"Name: {package.rpartition('-')[0]}\n")
    if providers is not None:
        (site / "onnxruntime").mkdir()
        (site / "onnxruntime" / "__init__.py").write_text(f"def get_available_providers():\n    return {providers}\n")
    # What lies in the caller's folder, or is on PYTHONPATH, is not what the server's models import.
    (tmp_path / "onnxruntime.py").write_text("def get_available_providers():\n    return ['CUDAExecutionProvider']\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert gpu.onnxruntime_knows_it(str(tmp_path / "venv" / "bin" / "python")) == knows


def test_no_python_knows_no_gpu(tmp_path: Path) -> None:
    assert not gpu.onnxruntime_knows_it(str(tmp_path / "python"))
