"""An original that is loaded in a process of its own, as Triton does it: a framework stays out of the others."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def run_script(tmp_path):
    """Runs a script whose argument is a version folder with this module in its source/; gives the ended process."""

    def run(script, name, module):
        (tmp_path / "source").mkdir()
        (tmp_path / "source" / name).write_text(module)
        command = [sys.executable, "-c", script, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    return run
