"""What control groups leave to a process: files as the kernel has them, version 2 and 1."""

import os
from pathlib import Path

import pytest

from python_backend.limits import available_cores, available_memory, cpu_quota, memory_left
from serving import doctor
from serving.shared_memory import free_bytes

MIB = 1 << 20
NO_LIMIT = 9223372036854771712
OWN = """\
4:memory:/docker/abc
3:cpu,cpuacct:/docker/abc
1:name=systemd:/docker/abc
0::/user.slice/run.scope
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own").write_text(OWN)
    return tmp_path / "own"


def tree(tmp_path: Path, files: dict[str, object]) -> Path:
    for name, text in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(f"{text}\n")
    return tmp_path / "cgroup"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, None),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "50000 100000"}, 0.5),
        ({"cpu.max": "max 100000", "user.slice/cpu.max": "200000 100000"}, 2.0),
        ({"user.slice/cpu.max": "200000 100000", "user.slice/run.scope/cpu.max": "100000 100000"}, 1.0),
        ({"another.slice/cpu.max": "100000 100000", "cpu/cpu.max": "100000 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1.0),
        ({"cpu/docker/abc/cpu.cfs_quota_us": "300000", "cpu/docker/abc/cpu.cfs_period_us": "100000"}, 3.0),
    ],
)
def test_the_least_quota_counts(tmp_path: Path, own: Path, files: dict[str, object], cores: float | None) -> None:
    assert cpu_quota(tree(tmp_path, files), own) == cores


@pytest.mark.parametrize(("quota", "cores"), [("max", None), (10000, 1), (150000, 1), (10**11, None)])
def test_cores_are_whole_ones_and_no_more_than_there_are(
    tmp_path: Path, own: Path, quota: object, cores: int | None
) -> None:
    cgroup = tree(tmp_path, {"cpu.max": f"{quota} 100000"})
    assert available_cores(cgroup, own) == (cores or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, None),
        ({"memory.max": "max", "memory.current": 5 * MIB}, None),
        ({"memory.max": 8 * MIB, "memory.current": 5 * MIB}, 3 * MIB),
        ({"memory.max": 8 * MIB, "memory.current": 9 * MIB}, 0),
        (
            {
                "memory.max": 8 * MIB,
                "memory.current": 5 * MIB,
                "memory.stat": f"anon {MIB}\nshmem 7\ninactive_file {MIB}\nactive_file {2 * MIB}",
            },
            6 * MIB,
        ),
        (
            {
                "user.slice/memory.max": 8 * MIB,
                "user.slice/memory.current": 5 * MIB,
                "user.slice/run.scope/memory.max": 4 * MIB,
                "user.slice/run.scope/memory.current": MIB // 2,
            },
            3 * MIB,
        ),
        ({"another.slice/memory.max": 8 * MIB, "another.slice/memory.current": MIB}, None),
        (
            {
                "memory/memory.limit_in_bytes": NO_LIMIT,
                "memory/memory.usage_in_bytes": 9 * MIB,
                "memory/docker/abc/memory.limit_in_bytes": 8 * MIB,
                "memory/docker/abc/memory.usage_in_bytes": 5 * MIB,
                "memory/docker/abc/memory.stat": f"inactive_file 0\ntotal_inactive_file {MIB}\ntotal_active_file {MIB}",
            },
            5 * MIB,
        ),
        ({"memory/memory.limit_in_bytes": 4 * MIB, "memory/memory.usage_in_bytes": MIB}, 3 * MIB),
    ],
)
def test_the_nearest_limit_counts_and_the_page_cache_does_not(
    tmp_path: Path, own: Path, files: dict[str, object], left: int | None
) -> None:
    assert memory_left(tree(tmp_path, files), own) == left


@pytest.mark.parametrize("text", ["", "0::/../../outside\n", "0::/\n"])
def test_in_a_container_the_outermost_folder_is_its_own(tmp_path: Path, own: Path, text: str) -> None:
    own.write_text(text)
    assert memory_left(tree(tmp_path, {"memory.max": 8 * MIB, "memory.current": MIB}), own) == 7 * MIB


def test_available_memory_is_the_smaller_of_the_machines_and_the_groups(tmp_path: Path, own: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:        9 kB\nMemAvailable:    4096 kB\n")
    group = tree(tmp_path, {"memory.max": 8 * MIB, "memory.current": MIB})
    assert available_memory(tmp_path / "meminfo", group, own) == 4 * MIB
    (group / "memory.current").write_text(str(6 * MIB))
    assert available_memory(tmp_path / "meminfo", group, own) == 2 * MIB
    assert available_memory(tmp_path / "meminfo", tmp_path / "none", tmp_path / "none") == 4 * MIB


def test_the_doctor_and_the_regions_of_shared_memory_keep_to_the_groups_limit(
    tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text(f"MemAvailable: {250 << 20} kB\n")
    group = tree(tmp_path, {"memory.max": 512 * MIB, "memory.current": 256 * MIB})
    monkeypatch.setattr(available_memory, "__defaults__", (tmp_path / "meminfo", group, own))
    lines = {finding.subject: finding.line() for finding in doctor.check_memory()}
    assert "0.2 GiB free, less than 4" in lines["memory"]
    assert free_bytes() <= 256 * MIB
