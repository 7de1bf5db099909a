"""Finding a Triton and a Python that fits it."""

import sys
from pathlib import Path

import pytest

from serving.errors import PythonNotSuitable, TritonNotFound
from serving.locate import find_installation, find_python


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        path.chmod(0o755)


def embedded(root: Path) -> Path:
    home = root / "pytriton" / "tritonserver"
    touch(home / "bin" / "tritonserver", home / "backends" / "python" / "libtriton_python.so")
    (home / "python_backend_stubs").mkdir()
    (root / "nvidia_pytriton.libs").mkdir()
    return root


def system(root: Path) -> Path:
    touch(root / "bin" / "tritonserver", root / "backends" / "python" / "libtriton_python.so")
    (root / "lib").mkdir()
    return root


def test_the_embedded_one_is_found_where_there_is_no_other(tmp_path: Path) -> None:
    found = find_installation({"PATH": ""}, embedded=embedded(tmp_path / "wheel"), system=tmp_path / "absent")
    assert found.embedded
    assert found.binary == tmp_path / "wheel" / "pytriton" / "tritonserver" / "bin" / "tritonserver"
    assert found.libraries == (tmp_path / "wheel" / "nvidia_pytriton.libs",)


def test_a_system_server_comes_before_the_embedded_one(tmp_path: Path) -> None:
    wheel = embedded(tmp_path / "wheel")
    found = find_installation({"PATH": ""}, embedded=wheel, system=system(tmp_path / "opt"))
    assert not found.embedded
    assert found.backends == tmp_path / "opt" / "backends"
    on_path = system(tmp_path / "path")
    found = find_installation({"PATH": str(on_path / "bin")}, embedded=wheel, system=tmp_path / "opt")
    assert found.binary == on_path / "bin" / "tritonserver"


def test_the_stand_in_runs_in_processes_and_tritons_own_backend_does_not(tmp_path: Path) -> None:
    found = find_installation({"UNDERSTUDY_TRITON": str(system(tmp_path))})
    assert found.in_processes == {"python", "onnxruntime"}
    (found.backends / "onnxruntime").mkdir()
    assert found.in_processes == {"python"}


@pytest.mark.parametrize("kind", [embedded, system])
def test_the_environment_variable_names_either_kind(tmp_path: Path, kind) -> None:
    root = kind(tmp_path / "mine")
    found = find_installation({"UNDERSTUDY_TRITON": str(root)}, embedded=tmp_path, system=tmp_path)
    assert found.binary.is_relative_to(root)


def test_a_wrong_environment_variable_is_not_replaced_by_a_guess(tmp_path: Path) -> None:
    wheel = embedded(tmp_path / "wheel")
    with pytest.raises(TritonNotFound, match=r"nowhere \(UNDERSTUDY_TRITON\)"):
        find_installation({"UNDERSTUDY_TRITON": str(tmp_path / "nowhere")}, embedded=wheel)


def test_nothing_found_names_every_place_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TritonNotFound, match=rf"PATH, {tmp_path}/b, {tmp_path}/a; run `make setup`"):
        find_installation({"PATH": ""}, embedded=tmp_path / "a", system=tmp_path / "b")


def test_a_server_without_the_python_backend_is_said(tmp_path: Path) -> None:
    touch(tmp_path / "bin" / "tritonserver")
    with pytest.raises(TritonNotFound, match=r"no Python backend .*libtriton_python\.so"):
        find_installation({"PATH": ""}, embedded=tmp_path / "absent", system=tmp_path)


def test_this_python_is_found_with_its_library() -> None:
    python = find_python()
    assert python.minor == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert python.bin_directory == Path(sys.executable).parent
    assert python.libpython.name == f"libpython{python.minor}.so.1.0"


def test_a_python_without_shared_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("serving.locate._library_directories", lambda: iter([tmp_path]))
    with pytest.raises(PythonNotSuitable, match=r"no shared library libpython3\.\d+\.so\.1\.0; install libpython3"):
        find_python()


def test_a_directory_without_python3_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3.11"))
    with pytest.raises(PythonNotSuitable, match="holds no python3"):
        find_python()
