import os

import pytest

from loadtests.processor import Sample, family, others_share, sample

TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def proc(tmp_path):
    """A /proc with a server (10), its child (11), that one's child (12), and a stranger (20)."""
    ticks = " ".join(str(seconds * TICKS) for seconds in (5, 0, 3, 90, 2, 0, 0, 0, 0, 0))
    (tmp_path / "stat").write_text(f"cpu  {ticks}\ncpu0 1 2 3\n")
    for pid, parent, seconds in ((10, 1, 2), (11, 10, 1), (12, 11, 1), (20, 1, 50)):
        (tmp_path / str(pid)).mkdir()
        before = " ".join(["0"] * 9)
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a (b) c) S {parent} {before} {seconds * TICKS} 0 0 0 20\n")
    return tmp_path


def test_a_server_is_the_process_and_all_that_descend_from_it(proc):
    assert family(10, proc) == {10, 11, 12}


def test_the_counters_are_seconds(proc):
    found = sample(10, proc)
    assert (found.total, found.busy, found.server) == (100.0, 8.0, 4.0)
    assert found.own > 0


def test_what_a_process_took_that_died_and_was_waited_for_stays_the_servers(proc):
    before = sample(10, proc).server
    (proc / "12" / "stat").unlink()
    (proc / "12").rmdir()
    fields = " ".join(["0"] * 9)
    (proc / "11" / "stat").write_text(f"11 (b) S 10 {fields} {TICKS} 0 {TICKS - 5} 5 20\n")
    assert sample(10, proc).server == before


def test_without_a_pid_the_server_counts_nothing(proc):
    assert sample(None, proc).server == 0.0


def test_a_process_that_has_gone_counts_nothing(proc):
    assert sample(99, proc).server == 0.0


def test_what_others_took_is_what_is_left_of_the_busy_time():
    before = Sample(total=100.0, busy=10.0, server=4.0, own=1.0)
    after = Sample(total=110.0, busy=19.0, server=9.0, own=2.0)
    assert others_share(before, after) == pytest.approx(0.3)


def test_rounding_never_gives_a_share_below_nothing():
    before = Sample(0.0, 0.0, 0.0, 0.0)
    assert others_share(before, Sample(10.0, 5.0, 5.0, 0.1)) == 0.0
    assert others_share(before, before) == 0.0


def test_this_process_is_found_in_the_real_proc():
    assert os.getpid() in family(os.getppid())
