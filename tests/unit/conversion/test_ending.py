"""Signals undo what has begun, as Ctrl-C does, and no process outlives the one that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conversion.ending import interruptible
from python_backend.integrity import pins

from .released import released

ROOT = Path(__file__).parents[3]
# A rollback on a server that takes its time at the hybrid.
ROLLBACK = """
import sys, time
from conversion.publishing import live_replay, switching
from conversion.__main__ import main
from conversion.commands import releases
from conversion.publishing.live import Live

class Slow:
    address = "127.0.0.1:1"
    calls = 0

    def load(self, model):
        if model == "net":
            self.calls += 1
            print("loading" if self.calls == 1 else "undoing", flush=True)
            time.sleep(60 if self.calls == 1 else 1)

    def versions(self, model):
        return [2]

switching.golden_of = lambda hybrid: None
releases.live_of = lambda arguments, report: Live(Slow(), None, report)
sys.exit(main(["rollback", "net", "--repository", sys.argv[1]]))
"""


@pytest.fixture
def repository(tmp_path, spec, affine):
    return released(tmp_path / "repository", spec, affine, releases=2)


def started(program, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_of_a_rollback_is_undone(repository, number):
    with started(ROLLBACK, repository.root) as process:
        assert process.stdout.readline() == "loading\n"
        process.send_signal(number)
        assert process.stdout.readline() == "undoing\n"
        # Whoever waits for it sends more; a terminal that closes does, too.
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGHUP)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert error.splitlines()[-1] == "interrupted; nothing more was published, and what is served stays so"
    assert {pins(path) for path in repository.root.glob("*/config.pbtxt")} == {(2,)}
    assert not list(repository.root.parent.glob(".repository-staging/journal/*"))


STARTING = """
import os, runpy, sys

def imported(event, details):
    if event == "import" and details[0] == sys.argv[2]:
        os.kill(os.getpid(), int(sys.argv[1]))

sys.addaudithook(imported)
sys.argv[3:] = ["releases"]
runpy.run_module("conversion", run_name="__main__", alter_sys=False)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("module", ["conversion.commands", "numpy", "onnx"])
def test_a_signal_while_it_starts_is_a_sentence_too(number, module):
    """Most of the first second is spent on imports."""
    with started(STARTING, int(number), module) as process:
        _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert error == "interrupted; nothing more was published, and what is served stays so\n"


HANGING = """
import sys, time
from pathlib import Path
from conversion.worker import run_worker

class Task:
    gpu = False

    def __reduce__(self):
        return time.sleep, (60,)

work = Path(sys.argv[1])
run_worker(Task(), work, work / "log", print)
"""


def children(process):
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def waited(what, wait_s=20.0):
    end = time.monotonic() + wait_s
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_converting_process_ends_with_whoever_started_it(tmp_path, number):
    """However that ends: nothing is told to a killed one."""
    with started(HANGING, tmp_path) as process:
        (worker,) = waited(lambda: children(process))
        waited(
            lambda: (tmp_path / "log").exists() and b"conversion.worker" in Path(f"/proc/{worker}/cmdline").read_bytes()
        )
        time.sleep(1.0)
        assert not ended(worker)
        process.send_signal(number)
        process.communicate(timeout=20)
        waited(lambda: ended(worker), 5.0)


def test_what_was_there_before_is_there_again():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGHUP)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
