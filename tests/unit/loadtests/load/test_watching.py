import os
import subprocess
import sys
import time

import pytest

from loadtests.load.watching import Watching, busy, memory_mb
from loadtests.processor import family

HOLDS = "import sys, time; held = bytearray(b'x') * (64 << 20); print(flush=True); sys.stdin.read()"


def test_memory_and_processors_of_a_process_are_seen(monkeypatch):
    monkeypatch.setattr("loadtests.load.watching._EVERY_S", 0.01)
    with subprocess.Popen([sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with Watching(process.pid) as watching:
            while watching.processors(0.0, time.time()) is None:
                time.sleep(0.01)
        process.stdin.close()
    assert 64 < watching.memory_mb < 128
    assert len(watching.memory) >= 1
    assert watching.processors(0.0, time.time()) >= 0


def test_a_server_somewhere_else_is_not_watched():
    with Watching(None) as watching:
        pass
    assert (watching.memory_mb, watching.processors(0.0, time.time()), watching.memory) == (None, None, [])


def looks(*rates, since=1000.3):
    """A look a second, between which so many processors were busy."""
    found = [(since, 50.0)]
    for rate in rates:
        when, seconds = found[-1]
        found.append((when + 1.0, seconds + rate))
    return found


def test_processors_are_those_of_the_time_that_the_figures_count():
    """Neither the two seconds in which Locust starts, nor the ramp, nor what comes after the last answer."""
    seen = looks(0, 0, 0.5, 1.5, 2, 2, 2, 2, 0.25, 0)
    assert busy(seen, 1004.0, 1008.9) == pytest.approx(2.0)
    assert busy(seen, 1000.0, 1011.0) == pytest.approx(1.025)


@pytest.mark.parametrize(("start", "end"), [(1001.0, 1002.0), (1001.0, 1001.0), (None, None)])
def test_what_was_not_looked_at_twice_is_not_known(start, end):
    assert busy(looks(2, 2, 2), start, end) is None


def test_memory_is_told_in_millions_of_bytes(tmp_path):
    for member, held in ((7, 2_000_000), (8, 1_000_000)):
        (tmp_path / str(member)).mkdir()
        (tmp_path / str(member) / "smaps_rollup").write_text(f"Rss:  9000000 kB\nPss:  {held} kB\n")
    assert memory_mb([7, 8, 9], tmp_path) == pytest.approx(3_072.0)


def test_what_is_gone_holds_nothing():
    assert memory_mb(family(os.getpid())) > 1
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    assert memory_mb({int(process.stdout)}) == 0
