"""One task in a process of its own: `python -m conversion.worker WORK PARENT`, the task pickled on standard input.

Frameworks do not share a process well (thread pools, protobuf, memory that never returns), so each model gets one.
Progress goes to standard output, one line a step; everything else that frameworks print goes to standard error.
The verdict is WORK/result.json: {"done": …}, {"error": {"class": …, "message": …}}, or {"crash": …}, the first line of
an error that nobody expected.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from python_backend.original.errors import first_line

from .ending import end_with_parent
from .errors import ConversionError, WorkerDied, by_name
from .spec import ModelSpec

__all__ = ["Task", "quiet_environment", "run_worker"]

RESULT = "result.json"


@dataclass(frozen=True)
class Task:
    """What to do for one model: a function of this package, as module and name, called with (spec, work, report, more).

    It gives a dataclass. A `gpu` is hidden from it unless it asks for one.
    """

    module: str
    function: str
    spec: ModelSpec
    more: dict[str, Any] = field(default_factory=dict)
    gpu: bool = False


def run_worker(task: Task, work: Path, log: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """Do `task` in a process of its own and give its result as plain data.

    Raises what the task raised, or WorkerDied. On an interrupt the process is killed first, and it never outlives this
    one.
    """
    work.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", __name__, str(work), str(os.getpid())]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env=quiet_environment(task.gpu),
            cwd=Path(__file__).parents[1],
        ) as process,
    ):
        assert process.stdin is not None  # both are pipes
        assert process.stdout is not None
        try:
            # It may have ended before it read its task: what it said is told below.
            with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
                pickle.dump(task, pipe)
            for line in process.stdout:
                report(line.decode(errors="replace").rstrip("\n"))
            code = process.wait()
        except BaseException:
            process.kill()
            raise
    path = work / RESULT
    if not path.is_file():
        how = f"was killed by signal {-code} (9 is most often a lack of memory)" if code < 0 else f"ended with {code}"
        raise WorkerDied(task.spec.name, how, log)
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "crash" in result:
        raise WorkerDied(task.spec.name, f"stopped at an error ({result['crash']})", log)
    if "error" in result:
        raise _revived(result["error"])
    done: dict[str, Any] = result["done"]
    return done


def quiet_environment(gpu: bool = False) -> dict[str, str]:
    """The environment of a process that loads a framework: few messages, no byte code, and a GPU only if asked for."""
    hidden = {} if gpu else {"CUDA_VISIBLE_DEVICES": ""}
    return os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONDONTWRITEBYTECODE": "1"} | hidden


def _revived(facts: dict[str, str]) -> ConversionError:
    """The error of the other process: its class for the exit code, its sentence as it was."""
    cls = by_name()[facts["class"]]
    error = cls.__new__(cls)
    Exception.__init__(error, facts["message"])
    return error


def main(work: str, parent: str) -> int:
    """Build and write the verdict. Gives the exit code, 0 also for an error that is part of the verdict."""
    end_with_parent(int(parent))
    # Frameworks print on file descriptor 1 from C++ as well: it is kept for progress, and they get the log.
    progress = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    os.dup2(2, 1)
    directory = Path(work)
    task: Task = pickle.load(sys.stdin.buffer)

    def report(step: str) -> None:
        print(step, file=progress, flush=True)

    try:
        run = getattr(importlib.import_module(f"conversion.{task.module}"), task.function)
        verdict: dict[str, Any] = {"done": asdict(run(task.spec, directory, report, **task.more))}
    except ConversionError as error:
        verdict = {"error": {"class": type(error).__name__, "message": str(error)}}
    # Frameworks, and code of the user's, raise what no list has, and may end the process.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        traceback.print_exc()
        verdict = {"crash": first_line(error)}
    (directory / RESULT).write_text(json.dumps(verdict, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
