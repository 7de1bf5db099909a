"""What is laid out for Triton to find."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from serving.errors import PythonNotSuitable, TritonNotFound
from serving.layout import lay_out_backends, plain_path
from serving.locate import Installation, PythonRuntime


@pytest.fixture
def wheel(tmp_path: Path) -> Installation:
    home = tmp_path / "wheel"
    stub = home / "stubs" / "3.11" / "triton_python_backend_stub"
    for path in (
        stub,
        home / "backends" / "python" / "libtriton_python.so",
        home / "backends" / "python" / "triton_python_backend_utils.py",
    ):
        path.parent.mkdir(parents=True) if not path.parent.exists() else None
        path.write_text(path.name)
    return Installation(home / "bin", home / "backends", home / "caches", (), home / "stubs")


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    directory = tmp_path / "stand_in"
    directory.mkdir()
    for name in ("model.py", "graph.py", "notes.txt"):
        (directory / name).write_text(name)
    return directory


@pytest.fixture
def python(tmp_path: Path) -> PythonRuntime:
    return PythonRuntime("3.11", tmp_path / "bin", tmp_path / "libpython3.11.so.1.0")


def test_the_embedded_server_gets_copies_and_the_stand_in(wheel, python, stand_in, tmp_path) -> None:
    backends = lay_out_backends(wheel, python, tmp_path / "run", stand_in)
    assert sorted(path.name for path in backends.iterdir()) == ["onnxruntime", "python"]
    assert sorted(path.name for path in (backends / "onnxruntime").iterdir()) == ["graph.py", "model.py"]
    laid = sorted((backends / "python").iterdir())
    assert [path.name for path in laid] == [
        "libtriton_python.so",
        "triton_python_backend_stub",
        "triton_python_backend_utils.py",
    ]
    assert not any(path.is_symlink() for path in backends.rglob("*")), "Triton refuses a link out of a backend"
    assert laid[1].stat().st_mode & stat.S_IXUSR


def test_what_triton_does_to_the_stub_does_not_reach_the_installation(wheel, python, stand_in, tmp_path) -> None:
    backends = lay_out_backends(wheel, python, tmp_path / "run", stand_in)
    (backends / "python" / "triton_python_backend_stub").chmod(0o100)
    assert (wheel.stubs / "3.11" / "triton_python_backend_stub").stat().st_mode & stat.S_IRUSR


def test_a_python_without_a_stub_names_those_that_have_one(wheel, python, stand_in, tmp_path) -> None:
    with pytest.raises(PythonNotSuitable, match=r"no stub for Python 3\.14, only for 3\.11"):
        lay_out_backends(wheel, replace(python, minor="3.14"), tmp_path / "run", stand_in)


def test_a_missing_part_is_named(wheel, python, stand_in, tmp_path) -> None:
    (wheel.backends / "python" / "triton_python_backend_utils.py").unlink()
    with pytest.raises(TritonNotFound, match=r"no triton_python_backend_utils\.py"):
        lay_out_backends(wheel, python, tmp_path / "run", stand_in)


def test_a_missing_stand_in_is_named(wheel, python, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TritonNotFound, match="stand-in for the ONNX Runtime backend"):
        lay_out_backends(wheel, python, tmp_path / "run", tmp_path / "empty")


def test_a_system_with_its_own_onnxruntime_is_used_as_it_is(wheel, stand_in, tmp_path) -> None:
    (wheel.backends / "onnxruntime").mkdir()
    installation = replace(wheel, stubs=None)
    assert lay_out_backends(installation, None, tmp_path / "run", stand_in) == wheel.backends


def test_a_system_without_onnxruntime_gets_the_stand_in_beside_its_own(wheel, stand_in, tmp_path) -> None:
    backends = lay_out_backends(replace(wheel, stubs=None), None, tmp_path / "run", stand_in)
    assert (backends / "python").is_symlink()
    assert (backends / "onnxruntime" / "model.py").is_file()


def test_a_plain_path_stays_and_another_gets_a_link(tmp_path: Path) -> None:
    for name in ("models", "my models", "a;b", "$HOME", "o'clock"):
        (tmp_path / name).mkdir()
        run = tmp_path / f"run{len(name)}"
        run.mkdir()
        seen = plain_path(tmp_path / name, run)
        assert seen.resolve() == (tmp_path / name).resolve()
        assert (seen == tmp_path / name) == (name == "models")
        assert not set(" ;$'") & set(str(seen))
