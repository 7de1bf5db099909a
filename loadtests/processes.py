"""Processes that are started for a measurement, and have to be gone after it."""

from __future__ import annotations

import subprocess

__all__ = ["end"]


def end(process: subprocess.Popen[bytes], within_s: float) -> None:
    """SIGTERM, and SIGKILL where it has not ended within so many seconds."""
    process.terminate()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
