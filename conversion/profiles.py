"""Where original and twin run when they are compared."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CPU", "PROFILES", "Profile"]

CPU = "CPUExecutionProvider"


@dataclass(frozen=True)
class Profile:
    """The twin's execution provider in ONNX Runtime, and the number of the original's GPU (None: the CPU)."""

    provider: str
    gpu: int | None


PROFILES = {"cpu": Profile(CPU, None), "gpu": Profile("CUDAExecutionProvider", 0)}
