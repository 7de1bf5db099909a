"""How many threads a session gets when config.pbtxt does not say.

The C++ backend leaves it to ONNX Runtime: every session gets a thread for each core of the machine, so that two
instances on two cores, the default, already fight for them, and a container with a quota gets the host's count. Here
the cores that the container may use are shared out between the instances. An explicit intra_op_thread_count means the
same in both.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def default_threads(config: dict[str, Any], cores: int) -> int:
    """Threads of one CPU instance, so that instances times threads stay within `cores`. At least 1."""
    instances = sum(
        max(1, int(group.get("count", 1)))
        for group in config.get("instance_group") or []
        if group.get("kind") != "KIND_GPU"
    )
    return max(1, cores // max(1, instances))


def available_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use: its affinity, or the cgroup's quota where that is less. At least 1."""
    cores = len(os.sched_getaffinity(0))
    for limit in (_quota_v2, _quota_v1):
        quota = limit(cgroup)
        if quota is not None:
            return max(1, min(cores, int(quota)))
    return cores


def _quota_v2(cgroup: Path) -> float | None:
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(cgroup: Path) -> float | None:
    try:
        quota = int((cgroup / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period = int((cgroup / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
