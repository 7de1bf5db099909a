"""The regions of shared memory that servers of tests take, and whose they are."""

from pathlib import Path

from serving.shared_memory import SHM


def regions() -> set[Path]:
    """Those of all servers on this machine."""
    return set(SHM.glob("triton_*_backend_shm_region_*"))


def mapped_by(pid: int) -> set[Path]:
    """Those of one server: it maps the region of each of its stubs."""
    return {region for region in regions() if region.name in Path(f"/proc/{pid}/maps").read_text()}
