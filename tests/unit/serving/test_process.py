"""A server process is watched, drained and ended with all it started. Shell scripts stand for the server here."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from serving import launcher
from serving.process import ServerProcess, group_members

PATIENT = 'trap "exit 0" TERM; echo up; while :; do sleep 0.05; done'
DEAF = 'trap "" TERM; echo up; while :; do sleep 0.05; done'
WITH_STUB = 'sleep 60 & trap "exit 0" TERM; echo up; while :; do sleep 0.05; done'


def started(script: str, log: Path) -> ServerProcess:
    process = ServerProcess(["/bin/sh", "-c", script], {"PATH": os.environ["PATH"]}, log)
    process.start()
    deadline = time.monotonic() + 10
    while "up" not in log.read_text() and process.exit_status is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def test_it_drains_and_its_output_is_in_the_log(tmp_path: Path) -> None:
    process = started(PATIENT, tmp_path / "logs" / "log")
    assert process.exit_status is None
    assert process.stop(10.0)
    assert process.exit_status == 0
    assert (tmp_path / "logs" / "log").read_text() == "up\n"
    assert process.stop(10.0), "stopping twice is no error"


def test_a_log_that_is_cut_short_while_it_is_written_goes_on_from_its_beginning(tmp_path: Path) -> None:
    """logrotate's copytruncate."""
    log = tmp_path / "log"
    process = started("while :; do echo up; sleep 0.02; done", log)
    os.truncate(log, 0)
    deadline = time.monotonic() + 10
    while len(log.read_bytes()) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.stop(1.0)
    assert log.read_bytes().startswith(b"up\nup\n")


def test_one_that_does_not_end_is_killed_in_time(tmp_path: Path) -> None:
    process = started(DEAF, tmp_path / "log")
    begun = time.monotonic()
    assert not process.stop(0.5)
    assert time.monotonic() - begun < 5
    assert process.exit_status == -signal.SIGKILL


def test_an_end_of_its_own_is_seen_with_its_status(tmp_path: Path) -> None:
    process = started("echo up; exit 3", tmp_path / "log")
    assert process.wait(10.0)
    assert process.exit_status == 3


def test_what_it_started_does_not_outlive_it(tmp_path: Path) -> None:
    process = started(WITH_STUB, tmp_path / "log")
    assert len(group_members(process.pid)) >= 2
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(10.0)
    deadline = time.monotonic() + 5
    while group_members(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_one_with_nothing_left_to_drain_is_not_waited_for(tmp_path: Path) -> None:
    # A shell loop without children: `:` is no process, so this server has no stub.
    process = started('trap "" TERM; echo up; while :; do :; done', tmp_path / "log")
    begun = time.monotonic()
    assert not process.stop(60.0, stubs_alone=True)
    assert time.monotonic() - begun < 20


def test_it_survives_the_thread_that_started_it(tmp_path: Path) -> None:
    processes: list[ServerProcess] = []
    thread = threading.Thread(target=lambda: processes.append(started(PATIENT, tmp_path / "log")))
    thread.start()
    thread.join()
    assert not processes[0].wait(0.5)
    assert processes[0].stop(10.0)


def test_a_signal_that_another_thread_got_ends_the_wait(tmp_path: Path) -> None:
    code = (
        "import signal, sys, threading; from pathlib import Path; from serving.process import ServerProcess\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "p = ServerProcess(['/bin/sleep', '60'], {}, Path(sys.argv[1])); p.start()\n"
        "here = lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)\n"
        "threading.Timer(0.5, here).start(); p.wait()"
    )
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    assert subprocess.run(command, cwd=root, timeout=20, check=False).returncode == 7


def test_one_that_has_ended_and_is_not_known_to_is_stopped_all_the_same(tmp_path: Path) -> None:
    process = started("echo up", tmp_path / "log")
    assert process.wait(10.0)
    # As it is for a moment, in which Ctrl-C for the second time has stopped it.
    process._ended.clear()
    threading.Timer(0.2, process._ended.set).start()
    assert process.stop(10.0)


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from serving.process import ServerProcess\n"
        "p = ServerProcess(['/bin/sleep', '60'], {}, Path(sys.argv[1])); p.start(); print(p.pid, flush=True)\n"
        "time.sleep(0.5); os.kill(os.getpid(), 9)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "log")], cwd=root, capture_output=True, text=True, check=False
    )
    deadline = time.monotonic() + 10
    while group_members(int(done.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_log_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    process = ServerProcess(["/bin/true"], {}, tmp_path / "file" / "log")
    with pytest.raises(OSError, match="file"):
        process.start()
    assert process.stop(1.0)


def test_it_may_open_as_many_files_as_the_system_lets_it(tmp_path: Path) -> None:
    """systemd, and a login, begin with 1024, and each connection takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        process = started("ulimit -S -n; ulimit -H -n; echo up", tmp_path / "log")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert process.wait(10.0)
    now, at_most, _ = (tmp_path / "log").read_text().split()
    assert at_most == ("unlimited" if hard == resource.RLIM_INFINITY else str(hard))
    assert now == (at_most if 0 <= hard <= 65536 else "65536")


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        (1024, 524288, 65536),
        (1024, 4096, 4096),
        (1024, resource.RLIM_INFINITY, 65536),
        (65536, 524288, None),
        (1048576, 1048576, None),
        (4096, 4096, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None),
    ],
)
def test_the_limit_of_open_files_is_raised_within_reason_and_never_lowered(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int | None
) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    launcher._raise_open_files()
    assert limits == ([] if raised is None else [(raised, hard)])
