"""When a twin that was killed is back: a real process is killed, what the watch tells is written by hand."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from loadtests.load.fault import TwinKilled


@pytest.fixture
def killed():
    """The fault, with a process in the place of the twin's and no server to watch; `kill` strikes at once."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        fault = TwinKilled("127.0.0.1:1", process.pid, "net_onnx", 0.0)
        fault._stubs = SimpleNamespace(of=lambda _: [process.pid])
        yield fault
        process.kill()
    fault._control.close()


def test_only_what_is_told_after_the_kill_counts(killed):
    killed._note("10:00:00 net_onnx is back, after 2.0 s")
    killed._kill()
    assert killed.back_after_s is None
    killed._note("10:00:07 other_onnx is back, after 1.0 s")
    assert killed.back_after_s is None
    killed._note("10:00:09 net_onnx is back, after 2.0 s")
    assert killed.back_after_s >= 0


def test_a_clock_that_is_set_meanwhile_changes_nothing(killed, monkeypatch):
    killed._kill()
    monkeypatch.setattr("time.time", lambda: 0.0)
    killed._note("10:00:09 net_onnx is back, after 2.0 s")
    assert 0 <= killed.back_after_s < 60
