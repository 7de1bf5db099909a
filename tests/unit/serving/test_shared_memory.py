"""Which regions are swept, and how large new ones are."""

from pathlib import Path

import pytest

from conversion.arrangements import settling
from serving.errors import NoSharedMemory
from serving.shared_memory import MIB, REGIONS, free_bytes, region_bytes, sweep_orphans

PYTHON = "triton_python_backend_shm_region_17a379db-8672-4fc0-9f1a-7dde1233ad56"
STAND_IN = "triton_onnxruntime_backend_shm_region_0305d7d6-8421-42c9-8997-f7cc4a8d0e9e"


@pytest.fixture
def shm(tmp_path: Path) -> Path:
    (tmp_path / "shm").mkdir()
    for name in (PYTHON, STAND_IN, "sem.somebody", "triton_notes"):
        (tmp_path / "shm" / name).write_text("")
    return tmp_path / "shm"


def process(tmp_path: Path, pid: int, *mapped: str) -> Path:
    proc = tmp_path / "proc"
    (proc / str(pid)).mkdir(parents=True)
    lines = [f"7f0000000000-7f0001000000 rw-s 00000000 00:19 12 /dev/shm/{name}\n" for name in mapped]
    (proc / str(pid) / "maps").write_text("55550000-55560000 r-xp 00000000 08:01 7 /bin/cat\n" + "".join(lines))
    return proc


def test_what_nobody_maps_goes_and_what_is_not_tritons_stays(shm: Path, tmp_path: Path) -> None:
    swept = sweep_orphans(shm, process(tmp_path, 7))
    assert [path.name for path in swept] == sorted([PYTHON, STAND_IN])
    assert sorted(path.name for path in shm.iterdir()) == ["sem.somebody", "triton_notes"]


def test_what_a_living_process_maps_stays(shm: Path, tmp_path: Path) -> None:
    process(tmp_path, 7, PYTHON)
    swept = sweep_orphans(shm, process(tmp_path, 8))
    assert [path.name for path in swept] == [STAND_IN]


def test_what_a_living_process_has_open_but_not_mapped_yet_stays(shm: Path, tmp_path: Path) -> None:
    proc = process(tmp_path, 7)
    (proc / "7" / "fd").mkdir()
    (proc / "7" / "fd" / "5").symlink_to(f"/dev/shm/{PYTHON}")
    assert [path.name for path in sweep_orphans(shm, proc)] == [STAND_IN]


def test_a_process_that_ends_meanwhile_is_no_error(shm: Path, tmp_path: Path) -> None:
    proc = process(tmp_path, 7)
    (proc / "9").mkdir()
    assert len(sweep_orphans(shm, proc)) == 2


@pytest.mark.parametrize(
    ("pid", "ipc", "swept"),
    [(4026531836, 4026531839, 2), (4026532258, 4026532257, 2), (4026532258, 4026531839, 0)],
    ids=["the machine", "a container", "a container with the machine's shared memory"],
)
def test_where_users_may_be_out_of_sight_nothing_is_swept(shm: Path, tmp_path: Path, pid, ipc, swept) -> None:
    proc = process(tmp_path, 7)
    (proc / "self" / "ns").mkdir(parents=True)
    (proc / "self" / "ns" / "pid").symlink_to(f"pid:[{pid}]")
    (proc / "self" / "ns" / "ipc").symlink_to(f"ipc:[{ipc}]")
    assert len(sweep_orphans(shm, proc)) == swept


@pytest.mark.parametrize(
    ("free", "first", "growth"),
    [(24 << 10, 128, 64), (8 << 10, 128, 64), (4 << 10, 64, 32), (1 << 10, 16, 8), (64, 1, 1), (0, 1, 1)],
)
def test_regions_fit_many_times_into_what_is_free(free: int, first: int, growth: int) -> None:
    assert region_bytes(free * MIB) == (first * MIB, growth * MIB)


@pytest.mark.parametrize(
    ("processes", "beside", "first"), [(3, 3, 64), (53, 3, 64), (63, 3, 32), (66, 3, 32), (200, 24, 16), (3000, 3, 1)]
)
def test_more_processes_get_smaller_regions_and_a_switch_still_fits(processes: int, beside: int, first: int) -> None:
    """A release with one instance each of hybrid and twins is three processes."""
    free = 4 << 10
    assert region_bytes(free * MIB, processes, beside) == (first * MIB, max(first // 2, 1) * MIB)
    assert (processes + beside) * first <= free


def test_processes_that_cannot_fit_are_said_with_what_to_do() -> None:
    assert region_bytes(66 * MIB, 66) == (MIB, MIB)
    with pytest.raises(NoSharedMemory) as raised:
        region_bytes(65 * MIB, 66, 3)
    assert str(raised.value) == (
        "the models to load have 66 processes, each of which takes 1 MiB of shared memory at the least, and 65 MiB are "
        "free; load fewer models, or make room in memory and /dev/shm (Docker: --shm-size)"
    )


def test_arrangements_are_measured_with_regions_that_are_not_made_smaller() -> None:
    assert settling._MOST_PROCESSES == REGIONS


def test_free_shared_memory_is_no_more_than_the_memory_there_is() -> None:
    assert 0 < free_bytes() < 1 << 50
