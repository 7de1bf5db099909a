"""A command that stays is ended once, by whichever signal comes first."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CODE = """
import os, signal, sys
from serving.ending import interruptible
interruptible()
def send(name):
    os.kill(os.getpid(), getattr(signal, name))
try:
    send(sys.argv[1])
    print("not ended")
except KeyboardInterrupt:
    try:
        for name in sys.argv[2:]:
            send(name)
        print("ended in order")
    except KeyboardInterrupt:
        print("cut short")
"""


def ended(*signals: str, under: tuple[str, ...] = ()) -> str:
    command = [*under, sys.executable, "-c", CODE, *signals]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_after_the_first_signal_only_ctrl_c_counts(first: str) -> None:
    assert ended(first, "SIGTERM", "SIGHUP", "SIGTERM") == "ended in order"
    assert ended(first, "SIGTERM", "SIGINT") == "cut short"


def test_those_that_come_with_the_first_one_are_passed_over_without_a_word() -> None:
    code = CODE.replace("send(sys.argv[1])", "signal.pthread_sigmask(signal.SIG_UNBLOCK, BOTH)").replace(
        "try:",
        "BOTH = {signal.SIGTERM, signal.SIGHUP}\nsignal.pthread_sigmask(signal.SIG_BLOCK, BOTH)\n"
        "send('SIGTERM'); send('SIGHUP')\ntry:",
        1,
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    assert (done.stdout, done.stderr) == ("ended in order\n", "")


def test_nohup_holds() -> None:
    assert ended("SIGHUP", under=("nohup",)) == "not ended"


def test_a_shell_that_ignores_ctrl_c_for_what_it_starts_in_the_background_does_not_keep_it() -> None:
    assert ended("SIGINT", under=("sh", "-c", 'trap "" INT; exec "$@"', "sh")) == "ended in order"
