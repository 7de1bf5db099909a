"""One conversion in a process of its own: `python -m conversion.worker WORK`, the spec pickled on standard input.

Frameworks do not share a process well (thread pools, protobuf, memory that never returns), so each model gets one.
Progress goes to standard output, one line a step; everything else that frameworks print goes to standard error.
The verdict is WORK/result.json: either {"built": …} or {"error": {"class": …, "message": …}}.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .build import build
from .errors import ConversionError, WorkerDied, by_name
from .spec import ModelSpec

__all__ = ["quiet_environment", "run_worker"]

RESULT = "result.json"


def run_worker(spec: ModelSpec, work: Path, log: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """Build `spec` in a process of its own and give `Built` as plain data.

    Raises what the build raised, or WorkerDied. On an interrupt the process is killed first.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", __name__, str(work)]
    with (
        log.open("w") as output,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env=quiet_environment(),
            cwd=Path(__file__).parents[1],
        ) as process,
    ):
        assert process.stdin is not None  # both are pipes
        assert process.stdout is not None
        try:
            with process.stdin as pipe:
                pickle.dump(spec, pipe)
            for line in process.stdout:
                report(line.decode().rstrip("\n"))
            code = process.wait()
        except BaseException:
            process.kill()
            raise
    path = work / RESULT
    if not path.is_file():
        how = f"was killed by signal {-code} (9 is most often a lack of memory)" if code < 0 else f"ended with {code}"
        raise WorkerDied(spec.name, how, log)
    result: dict[str, Any] = json.loads(path.read_text())
    if "error" in result:
        raise _revived(result["error"])
    built: dict[str, Any] = result["built"]
    return built


def quiet_environment() -> dict[str, str]:
    """The environment of a process that loads a framework: few messages, no byte code beside a model, no GPU."""
    return os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONDONTWRITEBYTECODE": "1", "CUDA_VISIBLE_DEVICES": ""}


def _revived(facts: dict[str, str]) -> ConversionError:
    """The error of the other process: its class for the exit code, its sentence as it was."""
    cls = by_name()[facts["class"]]
    error = cls.__new__(cls)
    Exception.__init__(error, facts["message"])
    return error


def main(work: str) -> int:
    """Build and write the verdict. Gives the exit code, 0 also for an error that is part of the verdict."""
    # Frameworks print on file descriptor 1 from C++ as well: it is kept for progress, and they get the log.
    progress = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    directory = Path(work)
    spec: ModelSpec = pickle.load(sys.stdin.buffer)

    def report(step: str) -> None:
        print(step, file=progress, flush=True)

    try:
        verdict: dict[str, Any] = {"built": asdict(build(spec, directory, report))}
    except ConversionError as error:
        verdict = {"error": {"class": type(error).__name__, "message": str(error)}}
    (directory / RESULT).write_text(json.dumps(verdict, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
