"""One stage of a load test: so many users of one kind for so long, while the server that they ask is watched."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tritonclient.utils import InferenceServerException

from loadtests import direct
from loadtests.load.counters import formed, read_counters
from loadtests.load.fault import TwinKilled
from loadtests.load.watching import Watching
from loadtests.questions import NoQuestions, from_release
from loadtests.rivals import FASTAPI, IN_PROCESS
from loadtests.rivals.running import RivalFailed, fastapi_server
from python_backend.limits import available_cores
from serving.ports import LOOPBACK, choose

_LOCUSTFILE = Path(__file__).parents[1] / "locustfile.py"
# All users are there after so many seconds; the figures count from then on.
_RAMP_S = 2.0
# Longer than any request may take.
_STOP_S = 70
_START_S = 60
# Locust is Python: a process of it asks what one core can. The server needs the others.
_CORES_FOR_A_PROCESS, _MOST_PROCESSES = 4, 4


class StageFailed(Exception):
    """Locust, or a rival, did not run to its end: its last words."""


@dataclass(frozen=True)
class Where:
    """The server: addresses as host:port, and its pid where it is on this machine."""

    grpc: str
    http: str
    metrics: str
    pid: int | None


@dataclass(frozen=True)
class Asked:
    """What is asked, and how often an answer is compared with what is right (once in `check_every`).

    `graph` is the ONNX file of the rivals; `first` is the twin that the hybrid asks first.
    """

    model: str
    release: Path | None
    check_every: int
    graph: Path | None = None
    first: str = "onnx"

    @property
    def twin(self) -> str:
        """The name of the twin that the hybrid asks first."""
        return f"{self.model}_{self.first}"


@dataclass(frozen=True)
class Load:
    """`users` users of the `kind`, Locust's class but for IN_PROCESS, for `seconds` once all are there.

    With `kill_twin` the processes of the twin that is asked first are killed in the middle, and a watch repairs it.
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
        with contextlib.ExitStack() as stack:
            where = stack.enter_context(_asked_server(load, where, asked))
            fault = stack.enter_context(_fault(load, where, asked.twin)) if load.kill_twin else None
            watching = stack.enter_context(Watching(where.pid))
            _run(_command(load, where, asked, summary), _START_S + _RAMP_S + load.seconds + _STOP_S)
        figures = _figures(summary)
    after, anew = read_counters(where.metrics), [asked.twin] if load.kill_twin else []
    return {
        "kind": load.kind,
        "users": load.users,
        "asked_first": asked.first,
        **figures,
        "server": {model: asdict(one) for model, one in formed(before, after, anew).items()},
        "processors": watching.processors(figures["counted_from"], figures["counted_until"]),
        "memory_mb": watching.memory_mb,
        "memory": watching.memory,
        "fault": None if fault is None else _told(fault, figures),
    }


def _figures(summary: Path) -> dict[str, Any]:
    """What was written to the summary. Raises StageFailed, also where requests were lost that no figure counts."""
    try:
        figures: dict[str, Any] = json.loads(summary.read_text())
    except (OSError, ValueError) as error:
        raise StageFailed(f"no summary was written: {error}") from error
    # ONNX Runtime alone counts all of them.
    if lost := figures.pop("uncounted", []):
        times = sum(one["times"] for one in lost)
        raise StageFailed(f"a user's own exceptions ended {times} requests, which no figure counts: {lost[0]['said']}")
    return figures


@contextlib.contextmanager
def _asked_server(load: Load, where: Where, asked: Asked) -> Iterator[Where]:
    """The server that this load is for: a rival's for a rival's."""
    if load.kind == IN_PROCESS:
        yield replace(where, pid=None)
    elif load.kind == FASTAPI:
        try:
            with fastapi_server(_graph(asked), load.users) as rival:
                yield replace(where, http=rival.address, pid=rival.pid)
        except RivalFailed as error:
            raise StageFailed(str(error)) from error
    else:
        yield where


def _graph(asked: Asked) -> Path:
    if asked.graph is None or asked.release is None:
        raise StageFailed("a rival needs the release's files; give --repository, or leave its kind out")
    return asked.graph


def _fault(load: Load, where: Where, twin: str) -> TwinKilled:
    if where.pid is None:
        raise StageFailed("the twin of a server that was not started here cannot be killed; leave --url out")
    # Locust takes about two seconds to start.
    return TwinKilled(where.grpc, where.pid, twin, 2 + _ramp_s(load) + load.seconds / 2)


def _told(fault: TwinKilled, figures: Mapping[str, Any]) -> dict[str, Any]:
    """What became of the twin. Raises StageFailed where the figures are not those of a load while it was killed."""
    if fault.killed_at is None:
        raise StageFailed(
            "nothing was killed: the twin had no process of its own, or the stage was over; see --seconds"
        )
    if figures["counted_until"] is None or not figures["counted_from"] <= fault.killed_at <= figures["counted_until"]:
        raise StageFailed("the twin was not killed while the figures counted; give the stage longer: --seconds")
    return {
        "killed_at": fault.killed_at,
        "back_after_s": fault.back_after_s,
        "said": [line for _, line in fault.said],
    }


def _ramp_s(load: Load) -> float:
    """How long it takes until all users are there; a lone one comes at once."""
    return _RAMP_S if load.users > 1 else 0.0


def _command(load: Load, where: Where, asked: Asked, summary: Path) -> list[str]:
    return _alone(load, asked, summary) if load.kind == IN_PROCESS else _locust(load, where, asked, summary)


def _alone(load: Load, asked: Asked, summary: Path) -> list[str]:
    options = {
        "--release": asked.release,
        "--users": load.users,
        "--seconds": load.seconds,
        "--check-every": asked.check_every,
        "--summary": summary,
    }
    return [sys.executable, "-m", "loadtests.rivals.in_process", str(_graph(asked)), *_flat(options)]


def _locust(load: Load, where: Where, asked: Asked, summary: Path) -> list[str]:
    host = where.grpc if load.kind.endswith("Grpc") else f"http://{where.http}"
    options = {
        "--locustfile": _LOCUSTFILE,
        "--host": host,
        "--grpc": where.grpc,
        "--model": asked.model,
        "--check-every": asked.check_every,
        "--users": load.users,
        "--spawn-rate": max(1.0, load.users / _RAMP_S),
        "--run-time": f"{max(1, round(load.seconds + _ramp_s(load)))}s",
        "--stop-timeout": _STOP_S,
        "--summary": summary,
        "--loglevel": "WARNING",
        "--exit-code-on-error": 0,
    }
    if asked.release is not None:
        options["--release"] = asked.release.resolve()
    if (processes := _processes(load.users)) > 1:
        _require_questions(where, asked)
        options |= {"--processes": processes, "--master-bind-host": LOOPBACK}
        options["--master-bind-port"] = options["--master-port"] = choose({"http": None})["http"]
    return [sys.executable, "-m", "locust", *_flat(options), "--headless", "--only-summary", "--reset-stats", load.kind]


def _require_questions(where: Where, asked: Asked) -> None:
    """Raise StageFailed where there is nothing to ask: a master would wait for workers that ended because of it."""
    try:
        with direct.client(where.grpc) as client:
            config = client.get_model_config(asked.model).config
        if asked.release is not None:
            from_release(asked.release, batched=config.max_batch_size > 0)
    except (NoQuestions, InferenceServerException) as error:
        raise StageFailed(f"error: {error}") from error


def _processes(users: int) -> int:
    """Of Locust."""
    return min(users, max(1, available_cores() // _CORES_FOR_A_PROCESS), _MOST_PROCESSES)


def _flat(options: Mapping[str, object]) -> list[str]:
    return [text for name, value in options.items() for text in (name, str(value))]


def _run(command: list[str], limit_s: float) -> None:
    # A group of its own: Ctrl-C is ours to pass on, once.
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, process_group=0
    )
    try:
        _, said = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise StageFailed(f"{command[2]} did not end within {limit_s:.0f} s") from error
    finally:
        if process.poll() is None:
            # Locust's processes of its own as well: they would go on asking.
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        lines = [line for line in said.splitlines() if line.strip()]
        raise StageFailed(lines[-1] if lines else f"{command[2]} ended with {process.returncode}")
