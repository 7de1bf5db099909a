"""Loading a published model writes nothing into its version, and whatever Python left there is no damage."""

import subprocess
import sys

import pytest

from conversion.publishing.prune import prune
from conversion.publishing.repository import Repository
from conversion.publishing.verify import verify
from conversion.release.byte_code import bar_byte_code
from python_backend.integrity import SUMS, require_intact

from ..released import release, released

MODULES = ["__init__.py", "model.py", "source/net.py", "source/package/__init__.py", "source/package/deep/layers.py"]


@pytest.fixture
def version(tmp_path):
    """A version with modules in several folders, and folders without any."""
    folder = tmp_path / "version"
    for module in [*MODULES, "source/weights/weights.bin"]:
        (folder / module).parent.mkdir(parents=True, exist_ok=True)
        (folder / module).write_text("" if module.endswith("__init__.py") else "HERE = 1\n")
    return folder


def tree(root):
    return {path.relative_to(root).as_posix(): path.stat().st_mtime_ns for path in (root, *root.rglob("*"))}


def imported(folder, *modules):
    """Import in a process of its own that may write byte code, as a stub does: isolated, and with no variable read."""
    code = f"import sys; sys.path.insert(0, {str(folder.parent)!r}); import {', '.join(modules)}"
    subprocess.run([sys.executable, "-I", "-W", "error", "-c", code], check=True, timeout=60)


def test_python_writes_no_byte_code_into_a_version_and_says_nothing(version):
    modules = ["version.model", "version.source.net", "version.source.package.deep.layers"]
    bar_byte_code(version)
    before = tree(version)
    for _ in range(2):
        imported(version, *modules)
    assert tree(version) == before
    for path in list(version.rglob("__pycache__")):
        path.unlink()
    imported(version, *modules)
    assert tree(version) != before, "it would write, if it could"


def test_the_file_lies_beside_modules_and_nowhere_else(version):
    bar_byte_code(version)
    found = {path.parent.relative_to(version).as_posix() for path in version.rglob("__pycache__") if path.is_file()}
    assert found == {".", "source", "source/package", "source/package/deep"}
    # A tool that leaves out what is empty would leave it out.
    assert "byte code" in (version / "__pycache__").read_text()


def test_byte_code_that_is_there_stays(version):
    (version / "__pycache__").mkdir()
    bar_byte_code(version)
    assert (version / "__pycache__").is_dir()


@pytest.fixture
def repository(tmp_path, spec, affine):
    return released(tmp_path / "repository", spec, affine, 2)


def left(repository):
    return sorted(path.relative_to(repository.root).as_posix() for path in repository.root.rglob("__pycache__"))


def test_a_release_has_it_where_it_has_modules(repository):
    assert left(repository) == [f"{model}/{n}/__pycache__" for model in ("net", "net_original") for n in (1, 2)]
    assert all((repository.root / path).is_file() for path in left(repository))
    for sums in repository.root.rglob(SUMS):
        assert "__pycache__" not in sums.read_text()


def to_folders(path):
    """As in a release from before there was such a file, which has been run."""
    path.unlink()
    path.mkdir()
    (path / "model.cpython-311.pyc").write_bytes(b"code")


def emptied(path):
    path.write_text("")


def lost(path):
    path.unlink()


@pytest.mark.parametrize("change", [to_folders, emptied, lost, lambda path: None])
def test_whatever_lies_there_the_release_is_intact_and_can_be_served_and_pruned(repository, spec, affine, change):
    for path in left(repository):
        change(repository.root / path)
    told = [str(verdict) for verdict in verify(repository, ["net"], ("onnx", "original"), lambda _: None)]
    assert told == ["net release 1: ok", "net release 2 (served): ok"]
    for model in ("net", "net_onnx", "net_original"):
        require_intact(repository.root / model / "2")
    with repository.locked():
        assert repository.repair("net") == []
        assert repository.switch("net", None) == 1
        assert release(repository, spec, affine) == 3
        assert prune(repository, "net", 1).removed == (1, 2)
    assert Repository(repository.root).versions("net") == [3]
    staging = repository.root.parent / ".repository-staging"
    assert [path for path in staging.rglob("*") if path.is_file()] == [staging / "lock"]
