"""Where a server's directory lies, and which are swept."""

import errno
import fcntl
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from serving import run_directory
from serving.errors import NoRunDirectory
from serving.run_directory import find_place, hold, make_run_directory, run_places, sweep_run_directories


def made(*, programs: bool) -> Path:
    return make_run_directory(lambda _: None, programs=programs)[0]


def mount_noexec(monkeypatch: pytest.MonkeyPatch, *places: Path) -> None:
    """As the kernel tells of such a mount, which only root could make."""
    real = os.statvfs

    def told(path: Path) -> object:
        return SimpleNamespace(f_flag=real(path).f_flag | os.ST_NOEXEC) if path in places else real(path)

    monkeypatch.setattr(os, "statvfs", told)


def test_it_lies_among_the_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert made(programs=True).parent == tmp_path


def test_where_no_program_may_run_it_lies_in_the_projects_folder_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(run_directory, "PROJECT", tmp_path / "project")
    mount_noexec(monkeypatch, tmp_path)
    (tmp_path / "project").mkdir()
    assert made(programs=True).parent == tmp_path / "project" / "build"
    assert made(programs=False).parent == tmp_path, "a system's Triton runs its own programs"


def test_where_there_is_no_room_it_lies_in_the_projects_folder_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(run_directory, "PROJECT", tmp_path / "project")
    (tmp_path / "tmp").mkdir()
    full = [tmp_path / "tmp"]

    def fill(directory: Path) -> str:
        (directory / "begun").touch()
        if directory.parent in full:
            raise OSError(errno.ENOSPC, "No space left on device", str(directory / "stub"))
        return "filled"

    directory, filled = make_run_directory(fill, programs=True)
    assert (directory.parent, filled) == (tmp_path / "project" / "build", "filled")
    full.append(tmp_path / "project" / "build")
    with pytest.raises(NoRunDirectory) as raised:
        make_run_directory(fill, programs=True)
    for place in full:
        assert f"{place} does not take it (No space left on device)" in str(raised.value)
    assert [one for place in full for one in place.iterdir()] == [directory], "nothing half filled is left"


@pytest.mark.parametrize("name", ["my files", "a;b", "$HOME"])
def test_a_path_that_a_shell_would_split_is_left_for_the_next(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert find_place((tmp_path / name, tmp_path), programs=False) == tmp_path


def test_without_a_fit_place_it_says_why_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my files").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "file").touch()
    mount_noexec(monkeypatch, tmp_path / "tmp")
    places = (tmp_path / "my files", tmp_path / "tmp", tmp_path / "file" / "build")
    with pytest.raises(NoRunDirectory) as raised:
        find_place(places, programs=True)
    assert str(raised.value) == (
        f"Triton's Python backend has no folder to run from: '{tmp_path}/my files' has a character in it that a shell "
        f"would read, and {tmp_path}/tmp is mounted noexec, and {tmp_path}/file/build cannot be written; set TMPDIR to "
        "one that has room, can be written, is not mounted noexec and has a plain path"
    )


def test_where_there_are_no_temporary_files_the_projects_folder_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", none)
    assert run_places() == (run_directory.PROJECT / "build",)


def test_run_directories_of_dead_owners_are_swept_and_others_stay(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine = made(programs=True)
    ours = mine.name.split("-")[2]
    dead = tmp_path / f"understudy-triton-{ours}-{os.getpid()}-1-abc"
    of_a_container = tmp_path / f"understudy-triton-{int(ours) + 1}-{os.getpid()}-1-abc"
    strange = tmp_path / "understudy-triton-notes"
    for directory in (dead, of_a_container, strange):
        directory.mkdir()
    assert sweep_run_directories([tmp_path / "absent", tmp_path]) == [dead]
    assert not dead.exists()
    assert all(directory.is_dir() for directory in (mine, of_a_container, strange))


def test_a_directory_that_its_server_removes_meanwhile_is_no_error(tmp_path: Path, monkeypatch) -> None:
    """Another server of this user stops, or sweeps, at the same moment."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    name = made(programs=True).name.split("-")
    gone, dead = (tmp_path / "-".join([*name[:3], "1", "1", tail]) for tail in ("abc", "def"))
    gone.symlink_to(tmp_path / "removed", target_is_directory=True)
    dead.mkdir()
    assert sweep_run_directories([tmp_path]) == [dead]


def is_locked(directory: Path) -> bool:
    """As systemd-tmpfiles finds it out."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_it_is_locked_until_it_is_let_go(tmp_path: Path) -> None:
    held = hold(tmp_path)
    assert is_locked(tmp_path)
    hold(tmp_path).close()
    assert is_locked(tmp_path), "another one lets go of its own lock alone"
    held.close()
    held.close()
    assert not is_locked(tmp_path)


def test_where_there_are_no_locks_it_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", none)
    hold(tmp_path).close()


def test_who_cleans_up_by_age_leaves_what_is_held(tmp_path: Path) -> None:
    clean = shutil.which("systemd-tmpfiles")
    if clean is None:
        return
    (tmp_path / "clean.conf").write_text(f"d {tmp_path}/tmp 1777 - - 20ms\n")
    for name in ("held", "left"):
        (tmp_path / "tmp" / name / "backends").mkdir(parents=True)
        (tmp_path / "tmp" / name / "backends" / "stub").touch()
    time.sleep(0.1)
    with hold(tmp_path / "tmp" / "held"):
        subprocess.run([clean, "--clean", tmp_path / "clean.conf"], check=True)
    assert [path.parts[-3] for path in tmp_path.rglob("stub")] == ["held"]
