"""docs/your-model.md, line by line: its files are written and its commands run, in a copy with ports of its own."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving import read_state

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "your-model.md").read_text()
# What the copy has of its own: what is published, what is built, and the user's models.
OWN = {"model_repository", "build", "my_models", ".git"}
DEADLINE_S = 60.0


@pytest.fixture
def copy(tmp_path):
    for entry in ROOT.iterdir():
        if entry.name not in OWN:
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "model_repository").mkdir()
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "triton").symlink_to(ROOT / "build" / "triton")
    return tmp_path


def blocks():
    """Language, file name and text of each block, in their order."""
    return re.findall(r"^```(\w+) ?([\w.]*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run(command, folder, **environment):
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@contextlib.contextmanager
def served(folder):
    """What `make serve` starts, on free ports."""
    ports = [word for name in ("http", "grpc", "metrics", "watch") for word in (f"--{name}-port", "0")]
    with (folder / "build" / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [".venv/bin/python", "-m", "serving", "serve", *ports], cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + DEADLINE_S
        while (state := read_state(folder / "build" / "server.json")) is None:
            assert process.poll() is None, (folder / "build" / "serve.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield state.grpc_url
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_every_line_of_the_page_runs_and_says_what_it_should(copy):
    model = copy / "my_models" / "prices"
    model.mkdir(parents=True)
    address, done, said = "", [], []
    with contextlib.ExitStack() as serving:
        for language, name, text in blocks():
            if language == "toml":
                (model / "model.toml").write_text(text)
            elif language == "python":
                (model / name).write_text(text.replace("127.0.0.1:8001", address or "127.0.0.1:8001"))
                if name != "net.py":
                    said.append(run([sys.executable, name], model))
            for line in text.splitlines() if language == "console" else ():
                command = shlex.split(line.removeprefix("$ "))
                if command == ["make", "serve"]:
                    address = serving.enter_context(served(copy))
                    continue
                if command in done and "convert" in command:
                    train_on(model)
                done.append(command)
                own = ["--url", address] if command[0] == ".venv/bin/understudy-client" else []
                said.append(run([*command, *own], copy, SEARCH="off"))
    trained, first, by_twin, from_python, _, instead, _, second, releases, back = said
    assert trained == ""
    assert "prices: release 1 published" in first
    assert from_python == "(3, 1) onnx\n"
    assert "served by onnx" in by_twin
    assert "served by original" in instead
    assert prices(by_twin) == pytest.approx(prices(instead), abs=1e-4)
    assert "prices: release 2 published" in second
    assert "live on" in second
    assert "prices: 1 [2]" in releases
    assert "prices: release 1 is served" in back


def train_on(model):
    """Other weights, as after more training."""
    program = model / "train.py"
    program.write_text(program.read_text().replace("manual_seed(0)", "manual_seed(1)"))
    run([sys.executable, program.name], model)


def prices(told):
    """The values in the client's table."""
    return [float(value) for value in re.search(r"\[3, 1\] +(.+)", told)[1].split(", ")]
