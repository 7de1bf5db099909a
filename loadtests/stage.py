"""One stage of a load test: so many users of one kind for so long, by Locust, while the server is watched."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtests.counters import formed, read_counters
from loadtests.fault import TwinKilled
from loadtests.watching import Watching

_LOCUSTFILE = Path(__file__).with_name("locustfile.py")
# All users are there after so many seconds; the figures count from then on.
_RAMP_S = 2.0
# Longer than any request may take.
_STOP_S = 70
_START_S = 60


class StageFailed(Exception):
    """Locust did not run to its end: its last words."""


@dataclass(frozen=True)
class Where:
    """The server: addresses as host:port, and its pid where it is on this machine."""

    grpc: str
    http: str
    metrics: str
    pid: int | None


@dataclass(frozen=True)
class Asked:
    """What is asked, and how often an answer is compared with what is right (once in `check_every`)."""

    model: str
    release: Path | None
    check_every: int


@dataclass(frozen=True)
class Load:
    """`users` Locust users of the class `kind`, for `seconds` once all are there.

    With `kill_twin` the ONNX twin's processes are killed in the middle, and a watch repairs it.
    """

    kind: str
    users: int
    seconds: float
    kill_twin: bool = False


def run_stage(load: Load, where: Where, asked: Asked) -> dict[str, Any]:
    """Run Locust to the end of `load`; gives its summary, and what the server did meanwhile.

    Raises StageFailed, OSError.
    """
    before = read_counters(where.metrics)
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder, "summary.json")
        command = _command(load, where, asked, summary)
        with contextlib.ExitStack() as stack:
            fault = stack.enter_context(_fault(load, where, asked.model)) if load.kill_twin else None
            watching = stack.enter_context(Watching(where.pid))
            _run(command, _START_S + _RAMP_S + load.seconds + _STOP_S)
        try:
            figures: dict[str, Any] = json.loads(summary.read_text())
        except (OSError, ValueError) as error:
            raise StageFailed(f"locust wrote no summary: {error}") from error
    after = read_counters(where.metrics)
    return {
        "kind": load.kind,
        "users": load.users,
        **figures,
        "server": {model: asdict(one) for model, one in formed(before, after).items()},
        "processors": watching.processors,
        "memory_mb": watching.memory_mb,
        "memory": watching.memory,
        "fault": None
        if fault is None
        else {
            "killed_at": fault.killed_at,
            "back_after_s": fault.back_after_s,
            "said": [line for _, line in fault.said],
        },
    }


def _fault(load: Load, where: Where, model: str) -> TwinKilled:
    if where.pid is None:
        raise StageFailed("the twin of a server that was not started here cannot be killed; leave --url out")
    # Locust takes about two seconds to start.
    return TwinKilled(where.grpc, where.pid, f"{model}_onnx", 2 + _RAMP_S + load.seconds / 2)


def _command(load: Load, where: Where, asked: Asked, summary: Path) -> list[str]:
    host = where.grpc if load.kind.endswith("Grpc") else f"http://{where.http}"
    options = {
        "--locustfile": _LOCUSTFILE,
        "--host": host,
        "--grpc": where.grpc,
        "--model": asked.model,
        "--check-every": asked.check_every,
        "--users": load.users,
        "--spawn-rate": max(1.0, load.users / _RAMP_S),
        "--run-time": f"{max(1, round(load.seconds + (_RAMP_S if load.users > 1 else 0)))}s",
        "--stop-timeout": _STOP_S,
        "--summary": summary,
        "--loglevel": "WARNING",
        "--exit-code-on-error": 0,
    }
    if asked.release is not None:
        options["--release"] = asked.release.resolve()
    flat = [text for name, value in options.items() for text in (name, str(value))]
    return [sys.executable, "-m", "locust", *flat, "--headless", "--only-summary", "--reset-stats", load.kind]


def _run(command: list[str], limit_s: float) -> None:
    # A group of its own: Ctrl-C is ours to pass on, once.
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, process_group=0
    )
    try:
        _, said = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise StageFailed(f"locust did not end within {limit_s:.0f} s") from error
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    if process.returncode:
        lines = [line for line in said.splitlines() if line.strip()]
        raise StageFailed(lines[-1] if lines else f"locust ended with {process.returncode}")
