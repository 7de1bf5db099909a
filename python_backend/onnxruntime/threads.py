"""How many threads a session gets when config.pbtxt does not say.

The C++ backend leaves it to ONNX Runtime: every session gets a thread for each core of the machine, so that two
instances on two cores, the default, already fight for them, and a container with a quota gets the host's count. Here
the cores that the container may use are shared out between the instances. An explicit intra_op_thread_count means the
same in both.
"""

from __future__ import annotations

from typing import Any


def default_threads(config: dict[str, Any], cores: int) -> int:
    """Threads of one CPU instance, so that instances times threads stay within `cores`. At least 1."""
    instances = sum(
        max(1, int(group.get("count", 1)))
        for group in config.get("instance_group") or []
        if group.get("kind") != "KIND_GPU"
    )
    return max(1, cores // max(1, instances))
