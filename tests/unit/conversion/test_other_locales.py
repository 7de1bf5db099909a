"""What the frameworks and our own sentences say is stored and handed on whatever the locale's encoding is."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

from conversion.publishing.quarantine import Quarantine
from conversion.worker import Task

ROOT = Path(__file__).parents[3]
# An encoding that has no "…", and that Python does not make UTF-8 of by itself.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ADD = r"""
import locale, pathlib, sys
from conversion.publishing.quarantine import Quarantine
assert locale.getpreferredencoding(False) != "UTF-8"
quarantine = Quarantine(pathlib.Path(sys.argv[1]))
quarantine.add("net", 3, {}, "2 of another shape (bias, \u2026)")
assert quarantine.releases("net")[0].reason == "2 of another shape (bias, \u2026)"
"""
WORK = r"""
import dataclasses, os, sys, types
from conversion import worker

@dataclasses.dataclass
class Done:
    said: str

def tell(spec, directory, report):
    report("loading \u2026, \udcff")
    return Done("\u2026")

sys.modules["conversion.telling"] = types.ModuleType("conversion.telling")
sys.modules["conversion.telling"].tell = tell
sys.exit(worker.main(sys.argv[1], str(os.getppid())))
"""


def run_in_ascii(script, folder, given=b""):
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, input=given, capture_output=True, check=False, cwd=ROOT, env=os.environ | ASCII)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def test_a_reason_for_quarantine_is_kept_and_read(tmp_path):
    run_in_ascii(ADD, tmp_path)
    assert Quarantine(tmp_path).releases("net")[0].reason == "2 of another shape (bias, …)"


def test_a_reason_that_an_older_publisher_wrote_is_read(tmp_path):
    (tmp_path / "net-3").mkdir()
    (tmp_path / "net-3" / "reason.txt").write_bytes("für die Katz\n".encode("latin-1"))
    assert Quarantine(tmp_path).releases("net")[0].reason == "f\ufffdr die Katz"


def test_a_worker_tells_of_its_steps(spec, tmp_path):
    said = run_in_ascii(WORK, tmp_path, pickle.dumps(Task("telling", "tell", spec)))
    assert said.decode() == "loading …, \\udcff\n"
