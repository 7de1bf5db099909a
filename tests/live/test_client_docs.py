"""Everything that docs/client.md shows runs, on a real Triton."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from understudy_client import HybridClient

MODEL = Path(__file__).parent / "test_client_docs_models" / "efficientnet_lite0"
PAGE = (Path(__file__).parents[2] / "docs" / "client.md").read_text()


@pytest.fixture(scope="module")
def served(triton: Any) -> Iterator[Any]:
    name = triton.add(MODEL)
    yield triton.server
    triton.drop(name)


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_python_snippets_run_in_order(served: Any, tmp_path: Path) -> None:
    program = "\n".join(_blocks("python")).replace('"127.0.0.1:8001"', repr(served.grpc_url))
    done = _execute([sys.executable, "-W", "error", "-c", program], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:2] == ["(10, 1000)", "onnx"]
    assert re.search(r"^efficientnet_lite0 +hybrid ", done.stdout, re.MULTILINE)
    assert "within its deadline of 0.0001 s" in done.stdout


def test_the_commands_run(served: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "pictures.npy", np.ones((3, 3, 224, 224), np.float32))
    commands = [line[2:] for block in _blocks("console") for line in block.splitlines()]
    assert len(commands) >= 7
    printed = {}
    for command in commands:
        name, *arguments = shlex.split(command)
        assert name == "understudy-client"
        done = _run(*arguments, "--url", served.grpc_url, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        printed[command] = done.stdout
    shown = json.loads(next(out for command, out in printed.items() if "--json" in command))
    assert shown["served_by"] == "onnx"
    assert shown["outputs"]["logits"]["shape"] == [3, 1000]
    with np.load(tmp_path / "logits.npz") as written:
        assert written["logits"].shape == (3, 1000)


def test_a_reader_that_stops_reading_ends_the_command_quietly(served: Any) -> None:
    command = f"{sys.executable} -m understudy_client models --json --url {served.grpc_url} | head -c 1"
    done = _execute(["bash", "-c", f"set -o pipefail; {command}"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "[", "")


def test_the_command_is_installed() -> None:
    command = shutil.which("understudy-client", path=str(Path(sys.executable).parent))
    assert command is not None
    done = _execute([command, "--help"])
    assert (done.returncode, done.stderr) == (0, "")
    assert "exit codes:" in done.stdout


def test_a_server_that_is_not_there_is_exit_code_5() -> None:
    done = _run("models", "--url", "127.0.0.1:1", "--timeout", "20")
    assert (done.returncode, done.stdout) == (5, "")
    assert re.fullmatch(r"understudy-client: listing the models at 127\.0\.0\.1:1 \(grpc\) failed .*\n", done.stderr)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_clients_of_short_threads_leave_no_open_files_behind(served: Any, protocol: Any) -> None:
    url = served.grpc_url if protocol == "grpc" else served.http_url

    def held() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def ask() -> None:
        with HybridClient(url, protocol=protocol) as client:
            client.models()

    def ask_in_threads(count: int) -> None:
        for _ in range(count):
            thread = threading.Thread(target=ask)
            thread.start()
            thread.join()

    ask_in_threads(5)
    before = held()
    ask_in_threads(30)
    assert held() <= before + 3


def _run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return _execute([sys.executable, "-m", "understudy_client", *arguments], cwd)


def _execute(command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
