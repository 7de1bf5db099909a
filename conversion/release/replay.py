"""Ask a release on disk for its golden samples again: the twin in this process, the original in one of its own.

`python -m conversion.release.replay FOLDER GOLDEN ANSWERS THREADS` runs the original in a version directory, by the
code that lies there and serves it, and writes the golden samples with its answers; why it could not is the last line
that it prints.
"""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from python_backend.integrity import CONFIG

from ..errors import PublishError
from ..proof.parity import Case, Parity, Twin, compare, prove
from ..spec import ToleranceSpec
from ..worker import quiet_environment
from .golden import read_golden, write_golden
from .pbtxt import read_config

__all__ = ["REPLAYS", "replay_original", "replay_twin"]

_PACKAGE = "released_original"


def replay_twin(folder: Path, golden: Path, tolerance: ToleranceSpec) -> list[str]:
    """What the ONNX model in `folder` answers otherwise than `golden` says, a sentence each. Raises PublishError."""
    case = read_golden(golden)
    try:
        twin = Twin(str(folder / "model.onnx"), _threads(folder, "intra_op_thread_count"))
    # ONNX Runtime's classes come from C++ and share no base but Exception.
    except Exception as error:  # noqa: BLE001
        return [f"the twin cannot be loaded: {str(error).splitlines()[0]}"]
    return prove(twin, [case], tolerance).failures


def replay_original(folder: Path, golden: Path, tolerance: ToleranceSpec) -> list[str]:
    """The same for the original in `folder`, in a process of its own. Raises PublishError."""
    case = read_golden(golden)
    with tempfile.TemporaryDirectory(prefix="replay-") as scratch:
        answers = Path(scratch) / "answers.npz"
        # It runs in another working directory.
        places = (folder.resolve(), golden.resolve(), answers.resolve())
        command = [sys.executable, "-m", __name__, *places, _threads(folder, "threads")]
        done = subprocess.run(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=quiet_environment(),
            cwd=Path(__file__).parents[2],
            check=False,
        )
        if done.returncode != 0:
            last = done.stdout.decode(errors="replace").strip().rpartition("\n")[2]
            return [f"the original cannot be run (exit status {done.returncode}): {last or 'it said nothing'}"]
        return Parity(tuple(compare(case, read_golden(answers).expected, tolerance))).failures


# Who is asked again, by role.
REPLAYS: dict[str, Callable[[Path, Path, ToleranceSpec], list[str]]] = {
    "onnx": replay_twin,
    "original": replay_original,
}


def _threads(folder: Path, parameter: str) -> int:
    """The threads that a version's own configuration gives it. Raises PublishError."""
    config = read_config(folder / CONFIG)
    return int(config.parameters[parameter].string_value or 1)


def main(folder: str, golden: str, answers: str, threads: str) -> int:
    """Answer the golden samples; gives the exit code."""
    directory = Path(folder)
    found = importlib.util.spec_from_file_location(
        _PACKAGE, directory / "__init__.py", submodule_search_locations=[folder]
    )
    if found is None or found.loader is None:
        raise PublishError(f"{folder} holds no package that could be loaded; convert the model again")
    sys.modules[_PACKAGE] = importlib.util.module_from_spec(found)
    found.loader.exec_module(sys.modules[_PACKAGE])
    loading = importlib.import_module(f"{_PACKAGE}.loading")
    case = read_golden(Path(golden))
    model = loading.load(directory, loading.Device(int(threads)))
    write_golden(Case(case.inputs, model.run(case.inputs)), Path(answers))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
