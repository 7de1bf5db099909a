"""A repository that nothing can be renamed into is noticed before anything is worked at."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from conversion import pipeline
from conversion.__main__ import main
from conversion.errors import StagingImpossible
from conversion.pipeline import convert
from conversion.publishing.repository import Repository

from ..released import release


@pytest.fixture
def elsewhere():
    """A folder on another file system than that of the tests."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def mounted(tmp_path, spec, affine, elsewhere):
    """A repository with two releases of 'net', whose neighbours lie on another file system, as a mount's do."""
    repository = Repository(tmp_path / "volume")
    with repository.locked():
        for _ in range(2):
            release(repository, spec, affine)
    staging = tmp_path / ".volume-staging"
    (staging / "lock").unlink()
    for path in staging.iterdir():
        path.rmdir() if not any(path.iterdir()) else pytest.fail(f"{path} is not empty")
    staging.rmdir()
    staging.symlink_to(elsewhere)
    if elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("/dev/shm is no file system of its own here")
    return repository


def test_a_mount_is_told_with_what_to_do_and_nothing_is_touched(mounted, elsewhere, capsys):
    for command in ("rollback", "prune"):
        assert main([command, "net", "--repository", str(mounted.root), "--server", "none"]) == 9
        told = capsys.readouterr().err
        assert len(told.splitlines()) == 1
        assert f"error: cannot publish to {mounted.root}: releases are staged beside it" in told
        assert "it is on another file system or mount" in told
        assert f"make the repository a folder below, such as {mounted.root}/model_repository, and serve that" in told
    assert mounted.served("net") == 2
    assert list(elsewhere.iterdir()) == []
    assert sorted(path.name for path in mounted.root.iterdir()) == ["net", "net_onnx", "net_original"]


def test_a_conversion_ends_before_it_searches(mounted, spec, tmp_path, monkeypatch):
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "net.keras").write_text("weights")
    monkeypatch.setattr(pipeline, "run_worker", lambda *_: pytest.fail("it searches"))
    with pytest.raises(StagingImpossible):
        convert(replace(spec, folder=folder), mounted, build_folder=tmp_path / "build", report=lambda _: None)


def test_a_parent_that_cannot_be_written_is_told():
    """Nobody may make a folder there, root neither."""
    told = r"in /sys/\.kernel-staging, .* not possible: .*; make the repository a folder below"
    with pytest.raises(StagingImpossible, match=told), Repository(Path("/sys/kernel")).locked():
        pass


def test_a_folder_on_the_volume_is_published_to(elsewhere, spec, affine):
    repository = Repository(elsewhere / "model_repository")
    for expected in (1, 2):
        with repository.locked():
            assert release(repository, spec, affine) == expected
    assert main(["rollback", "net", "--repository", str(repository.root), "--server", "none"]) == 0
    assert repository.served("net") == 1
