"""An original that is loaded in a process of its own, as Triton does it: a framework stays out of the others."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def run_script_at():
    """Runs a script whose argument is a version folder with this module in its source/; gives the ended process."""

    def run(folder, script, name, module):
        (folder / "source").mkdir()
        (folder / "source" / name).write_text(module)
        command = [sys.executable, "-c", script, str(folder)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    return run


@pytest.fixture
def run_script(tmp_path, run_script_at):
    """The same in a folder of the test's own."""
    return partial(run_script_at, tmp_path)
