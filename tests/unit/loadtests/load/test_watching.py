import os
import subprocess
import sys

from loadtests.load.watching import Watching, memory_mb

HOLDS = "import sys, time; held = bytearray(b'x') * (64 << 20); print(flush=True); sys.stdin.read()"


def test_memory_and_processors_of_a_process_are_seen():
    with subprocess.Popen([sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with Watching(process.pid) as watching:
            pass
        process.stdin.close()
    assert 64 < watching.memory_mb < 128
    assert len(watching.memory) >= 1
    assert watching.processors >= 0


def test_a_server_somewhere_else_is_not_watched():
    with Watching(None) as watching:
        pass
    assert (watching.memory_mb, watching.processors, watching.memory) == (None, None, [])


def test_what_is_gone_holds_nothing():
    assert memory_mb(os.getpid()) > 1
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    assert memory_mb(int(process.stdout)) == 0
