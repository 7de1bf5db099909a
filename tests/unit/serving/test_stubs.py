"""Whose process lost its server, and is ended."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.stubs import end_orphans


@pytest.fixture
def stub(tmp_path: Path):
    """A process that may be ended, and what /proc tells of it: started by server 40, and whose child it is now."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    def told(parent: int, namespace: str) -> Path:
        for pid, its in (("self", "pid:[1]"), (str(process.pid), namespace)):
            (tmp_path / pid / "ns").mkdir(parents=True)
            (tmp_path / pid / "ns" / "pid").symlink_to(its)
        own = tmp_path / str(process.pid)
        binary = "/tmp/understudy-triton-1-40-7-abc/backends/python/triton_python_backend_stub"
        (own / "cmdline").write_text(f"{binary}\0/r/net/1/model.py\0region\0001048576\0001048576\00040\0")
        (own / "stat").write_text(f"{process.pid} (stub) S {parent} 1 1")
        return tmp_path

    yield process, told
    process.kill()
    process.wait()


def test_a_process_that_lost_its_server_is_ended(stub) -> None:
    process, told = stub
    assert end_orphans(told(1, "pid:[1]")) == [process.pid]
    assert process.wait(10) == -9


def test_a_killed_server_of_which_threads_still_end_has_lost_its_processes(stub) -> None:
    process, told = stub
    proc = told(40, "pid:[1]")
    (proc / "40").mkdir()
    (proc / "40" / "stat").write_text("40 (tritonserver) Z 1 1 1")
    assert end_orphans(proc) == [process.pid]


@pytest.mark.parametrize(
    ("parent", "namespace"), [(40, "pid:[1]"), (4040, "pid:[2]")], ids=["its server's child", "a container's"]
)
def test_a_process_that_has_its_server_is_left_alone(stub, parent: int, namespace: str) -> None:
    process, told = stub
    proc = told(parent, namespace)
    (proc / "40").mkdir()
    (proc / "40" / "stat").write_text("40 (tritonserver) S 1 1 1")
    assert end_orphans(proc) == []
    assert process.poll() is None
