"""The file that tells where a server runs."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from serving.errors import StateNotWritten, StateTaken
from serving.state import RunningServer, clear_state, read_state, started_ticks, write_state


def this_process() -> RunningServer:
    ticks = started_ticks(os.getpid())
    assert ticks is not None
    return RunningServer("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", os.getpid(), ticks, "/models", "/log")


def test_a_running_server_is_read_back(tmp_path: Path) -> None:
    write_state(tmp_path / "build" / "server.json", this_process())
    assert read_state(tmp_path / "build" / "server.json") == this_process()


def test_a_server_that_is_gone_is_not_running(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    write_state(tmp_path / "server.json", replace(this_process(), pid=ended.pid))
    assert read_state(tmp_path / "server.json") is None


def test_another_process_with_the_same_number_is_not_the_server(tmp_path: Path) -> None:
    write_state(tmp_path / "server.json", replace(this_process(), started_ticks=1))
    assert read_state(tmp_path / "server.json") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', "null"])
def test_a_file_that_is_not_one_means_no_server(tmp_path: Path, text: str) -> None:
    (tmp_path / "server.json").write_text(text)
    assert read_state(tmp_path / "server.json") is None
    clear_state(tmp_path / "server.json", os.getpid())


def test_no_file_means_no_server(tmp_path: Path) -> None:
    assert read_state(tmp_path / "server.json") is None


def test_only_the_servers_own_file_is_cleared(tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    write_state(path, this_process())
    clear_state(path, os.getpid() + 1)
    assert path.exists()
    clear_state(path, os.getpid())
    assert not path.exists()


def test_that_of_another_server_that_runs_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    write_state(path, this_process())
    write_state(path, this_process())
    ticks = started_ticks(os.getppid())
    assert ticks is not None
    another = replace(this_process(), pid=os.getppid(), started_ticks=ticks)
    with pytest.raises(StateTaken, match=rf"process {os.getpid()}, .* at 127\.0\.0\.1:1; .*another --state and --log"):
        write_state(path, another)
    assert read_state(path) == this_process()
    path.write_text(path.read_text().replace(str(this_process().started_ticks), "1"))
    write_state(path, another)
    assert read_state(path) == another


def test_one_that_cannot_be_written_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    path.mkdir()
    with pytest.raises(StateNotWritten, match=r"server\.json cannot be written \(Is a directory\).*--state"):
        write_state(path, this_process())
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "file").write_text("")
    with pytest.raises(StateNotWritten):
        write_state(tmp_path / "file" / "server.json", this_process())


def test_a_zombie_is_not_running() -> None:
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert started_ticks(zombie.pid) is None
    zombie.wait()
