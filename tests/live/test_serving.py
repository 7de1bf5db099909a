"""TritonServer and its command line on the real server."""

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from serving import (
    LoadFailed,
    LoadHangs,
    ModelNotFound,
    PortTaken,
    ProbeFailed,
    RepositoryUnreadable,
    ServerFailed,
    ServerUnreachable,
    TritonServer,
    read_state,
)

from ..hanging import ALWAYS, make_hanging
from ..regions import mapped_by, regions
from .conftest import until_reached

T = TypeVar("T")
MODELS = Path(__file__).parent / "serving_models"
PROJECT = Path(__file__).parent.parent.parent


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    shutil.copytree(MODELS / "echo", tmp_path / "repository" / "echo")
    return tmp_path / "repository"


def infer(grpc_url: str, value: float, name: str = "echo") -> float:
    data = np.full((1, 1), value, np.float32)
    with InferenceServerClient(grpc_url) as client:
        tensor = InferInput("x", [1, 1], "FP32").set_data_from_numpy(data)
        return float(client.infer(name, [tensor], client_timeout=20).as_numpy("y")[0, 0])


def working_on(repository: Path) -> list[int]:
    """The processes that a server on this repository has."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(repository).encode() in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def wait_until(true: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def left_behind(kill: Callable[[], T], is_there: Callable[[T], bool]) -> T:
    """What `kill` leaves. A server of another test that starts meanwhile takes it away, too: then it is done again."""
    for _ in range(3):
        left = kill()
        if is_there(left):
            return left
    raise AssertionError("a killed server cannot clean up, and nothing is left")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_serves_what_is_in_the_repository_and_leaves_nothing_behind(repository: Path, tmp_path: Path) -> None:
    log, state = tmp_path / "logs" / "triton.log", tmp_path / "server.json"
    log.parent.mkdir()
    log.write_text("how the server before ended")
    with TritonServer(repository, log_path=log, state_path=state) as server:
        assert infer(server.grpc_url, 0.0) == 0.0
        running = read_state(state)
        assert running is not None
        assert (running.grpc_url, running.pid) == (server.grpc_url, server.pid)
        pid, mine = server.pid, mapped_by(server.pid)
        assert mine
    assert not alive(pid)
    assert not mine & regions()
    assert read_state(state) is None
    assert "successfully loaded 'echo'" in log.read_text()
    assert log.with_name("triton.log.1").read_text() == "how the server before ended"


def test_listens_on_loopback_alone(triton) -> None:
    inodes = {
        os.readlink(descriptor)
        for descriptor in Path(f"/proc/{triton.server.pid}/fd").iterdir()
        if os.path.lexists(descriptor)
    }
    listening = [
        fields[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for fields in (line.split() for line in Path(table).read_text().splitlines()[1:])
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes
    ]
    assert len(listening) == 3
    assert {address.split(":")[0] for address in listening} == {"0100007F", "0000000000000000FFFF00000100007F"}, (
        "127.0.0.1, as IPv4 or inside IPv6"
    )


def test_a_taken_port_is_said_before_anything_starts(repository: Path, triton) -> None:
    port = int(triton.server.grpc_url.rpartition(":")[2])
    with pytest.raises(PortTaken, match=rf"port {port} \(grpc\) is taken by process {triton.server.pid} \(tritonserv"):
        TritonServer(repository, grpc_port=port).start()


def test_whoever_asked_a_dead_server_all_the_time_finds_it_once_it_is_back(repository: Path) -> None:
    """gRPC itself would wait ever longer, and make those wait who connect anew."""
    with TritonServer(repository) as server, server.control() as control:
        os.kill(server.pid, signal.SIGKILL)
        assert server.wait(10.0) == -signal.SIGKILL
        end = time.monotonic() + 16.0
        while time.monotonic() < end:
            with pytest.raises(ServerUnreachable):
                control.index()
            time.sleep(0.1)
        server.restart()
        until_reached(control, within_s=5.0)
        assert control.ready("echo")


def test_two_servers_run_side_by_side_and_one_sweeps_only_what_a_dead_one_left(repository: Path, triton) -> None:
    triton.add(MODELS / "echo", "neighbour")

    def kill() -> tuple[TritonServer, set[Path]]:
        killed = TritonServer(repository)
        killed.start()
        orphans = mapped_by(killed.pid)
        os.kill(killed.pid, signal.SIGKILL)
        assert killed.wait(10.0) == -signal.SIGKILL
        assert orphans
        return killed, orphans

    killed, orphans = left_behind(kill, lambda left: left[1] <= regions())
    living = mapped_by(triton.server.pid)
    with TritonServer(repository) as server:
        assert not orphans & regions()
        assert living <= regions()
        assert infer(server.grpc_url, 0.0) == 0.0
        assert infer(triton.server.grpc_url, 0.0, "neighbour") == 0.0
    killed.stop()
    triton.drop("neighbour")


def test_the_server_ends_when_its_parent_is_killed(repository: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from serving import TritonServer\n"
        "server = TritonServer(Path(sys.argv[1])); server.start(); print(server.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(repository)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        stubs = children(pid)
        assert stubs
        parent.kill()
        wait_until(lambda: not any(alive(one) for one in (pid, *stubs)))


def test_a_model_that_does_not_load_ends_the_start_with_the_servers_reason(repository: Path) -> None:
    shutil.copytree(MODELS / "broken", repository / "broken")
    server = TritonServer(repository)
    with pytest.raises(LoadFailed, match="the weights are not here") as raised:
        server.start()
    assert raised.value.name == "broken"
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.pid


def test_without_strict_the_others_serve(repository: Path) -> None:
    shutil.copytree(MODELS / "broken", repository / "broken")
    with TritonServer(repository, strict=False) as server:
        assert list(server.failures) == ["broken"]
        assert "the weights are not here" in server.failures["broken"]
        assert infer(server.grpc_url, 0.0) == 0.0


def test_a_death_while_starting_shows_what_the_log_says(repository: Path, tmp_path: Path, triton) -> None:
    log, taken = tmp_path / "triton.log", triton.server.grpc_url.rpartition(":")[2]
    with pytest.raises(ServerFailed, match=rf"ended with 1 while starting(.|\n)*{taken}' already in use") as raised:
        TritonServer(repository, log_path=log, extra_arguments=[f"--grpc-port={taken}"]).start()
    assert raised.value.log_path == log


def test_a_path_that_a_shell_would_split_is_served(repository: Path, tmp_path: Path) -> None:
    spaced = tmp_path / "my models; (new)"
    repository.rename(spaced)
    with TritonServer(spaced) as server:
        assert infer(server.grpc_url, 0.0) == 0.0


def test_where_temporary_files_are_in_such_a_path_triton_runs_from_elsewhere(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my files").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "my files"))
    with TritonServer(repository) as server:
        assert infer(server.grpc_url, 0.0) == 0.0
    assert not list((tmp_path / "my files").iterdir())


def test_a_request_in_flight_is_answered_when_the_server_stops(repository: Path) -> None:
    answers = []
    model = repository / "echo" / "1" / "model.py"
    asked = model.with_name("asked")
    code = model.read_text()
    model.write_text(code.replace("time.sleep(", f"open({str(asked)!r}, 'w').close(); time.sleep("))
    with TritonServer(repository) as server:
        url = server.grpc_url
        caller = threading.Thread(target=lambda: answers.append(infer(url, 2.0)))
        caller.start()
        wait_until(asked.exists)
    caller.join(20)
    assert answers == [2.0]


def test_a_dead_stub_is_found_by_a_probe_and_repaired_by_unload_and_load(triton) -> None:
    name = triton.add(MODELS / "echo", "mortal")
    triton.control.load(name)  # Python wrote its byte code beside it: this release loads it once more, and only once
    os.kill(int(infer(triton.server.grpc_url, -1.0, name)), signal.SIGKILL)
    with pytest.raises(ProbeFailed, match="not healthy"):
        triton.control.probe(name, timeout_s=20)
    assert triton.control.ready(name), "this release believes a dead model to be ready"
    triton.control.load(name)
    with pytest.raises(ProbeFailed):
        triton.control.probe(name, timeout_s=20)
    triton.control.reload(name)
    assert triton.control.probe(name) < 5.0
    triton.drop(name)


def test_stopping_does_not_wait_for_a_model_whose_stub_was_killed(repository: Path) -> None:
    with TritonServer(repository, drain_s=60) as server:
        os.kill(int(infer(server.grpc_url, -1.0)), signal.SIGKILL)
        with server.control() as control, pytest.raises(ProbeFailed):
            control.probe("echo")
        started = time.monotonic()
    assert time.monotonic() - started < 30


def test_switch_serves_the_newly_pinned_version_of_all_three(triton) -> None:
    names = ["trio_onnx", "trio", "trio_original"]
    for name in names:
        triton.add(MODELS / "echo", name)
        folder = triton.repository / name
        shutil.copytree(folder / "1", folder / "2")
        with (folder / "config.pbtxt").open("a") as config:
            config.write("version_policy { specific { versions: 2 } }\n")
    assert triton.control.switch("trio") == names
    for name in names:
        assert triton.control.ready(name, 2)
        assert not triton.control.ready(name, 1)
    triton.drop(*names)


def test_a_switch_that_fails_leaves_what_served_before(triton) -> None:
    names = ["duo_onnx", "duo"]
    for name in names:
        triton.add(MODELS / "echo", name)
    twin = triton.repository / "duo_onnx"
    shutil.copytree(MODELS / "broken" / "1", twin / "2")
    with (twin / "config.pbtxt").open("a") as config:
        # The broken version alone: beside one that loads, this release may crash (see ModelControl.load).
        config.write("version_policy { specific { versions: 2 } }\n")
    with pytest.raises(LoadFailed, match="the weights are not here"):
        triton.control.switch("duo")
    assert infer(triton.server.grpc_url, 0.0, "duo_onnx") == 0.0
    assert infer(triton.server.grpc_url, 0.0, "duo") == 0.0
    triton.drop(*names)


def test_an_unknown_model_is_said_with_what_there_is(triton) -> None:
    name = triton.add(MODELS / "echo", "known")
    with pytest.raises(ModelNotFound, match=r"'nope': the server's repository holds .*known"):
        triton.control.load("nope")
    triton.control.unload(name)
    assert not triton.control.ready(name)
    with pytest.raises(InferenceServerException):
        infer(triton.server.grpc_url, 0.0, name)
    triton.drop(name)


def test_a_link_to_nothing_in_the_repository_ends_no_start_and_no_control(repository: Path) -> None:
    link = repository / ".#echo"
    link.symlink_to("somebody@host.1:2")
    with TritonServer(repository) as server, server.control() as control:
        with pytest.raises(RepositoryUnreadable, match=r"failed to stat file .*/\.#echo; remove"):
            control.index()
        control.unload("echo")
        control.load("echo")
        control.reload("echo")
        with pytest.raises(LoadFailed, match="nope"):
            control.load("nope")
        link.unlink()
        assert [one.ready for one in control.index()] == [True]
        away = repository.with_name("away")
        repository.rename(away)
        with pytest.raises(RepositoryUnreadable, match="failed to open directory"):
            control.index()
        away.rename(repository)


def test_the_command_line_serves_loads_unloads_and_stops_once(repository: Path, tmp_path: Path) -> None:
    state = tmp_path / "server.json"

    def said(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)

    def command_of(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "serving", *arguments, "--state", str(state)]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return said(command_of(*arguments))

    def run_unread(*arguments: str) -> tuple[int, str]:
        """With a standard output that nobody reads: the exit code, and what it says."""
        ran = said(["bash", "-c", f"{shlex.join(command_of(*arguments))} | true; exit ${{PIPESTATUS[0]}}"])
        return ran.returncode, ran.stderr

    serve = [sys.executable, "-m", "serving", "serve", "--repository", str(repository), "--state", str(state)]
    ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", "--watch-port", "0"]
    ports += ["--log", str(tmp_path / "triton.log")]
    with (
        subprocess.Popen([*serve, *ports], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as server,
        # After a failed look nobody else would end it.
        contextlib.ExitStack() as left,
    ):
        left.callback(server.kill)
        assert server.stdout is not None
        shown = dict(server.stdout.readline().rstrip("\n").split("\t") for _ in range(5))
        assert list(shown) == ["http", "grpc", "metrics", "log", "watch"]
        assert infer(shown["grpc"], 0.0) == 0.0

        assert run("unload", "echo").returncode == 0
        assert "UNAVAILABLE" in run("status").stdout
        assert run_unread("status") == (0, "")
        assert run("load", "echo").stderr == "loaded echo\n"
        assert "answers in" in run("status", "--probe").stdout
        stubs = {pid for pid in working_on(repository) if "python_b" in Path(f"/proc/{pid}/comm").read_text()}
        assert "loaded echo; it was before, so where it does not answer, `reload` it" in run("load", "echo").stderr
        assert stubs <= set(working_on(repository))
        assert run("reload", "echo").returncode == 0
        assert not stubs & set(working_on(repository))
        assert "answers in" in run("status", "--probe").stdout
        assert run("load", "nope").returncode == 6

        taken = run(
            "serve", "--repository", str(repository), "--grpc-port", shown["grpc"].partition(":")[2], "--http-port", "0"
        )
        assert taken.returncode == 4
        assert f"the state file {state} is taken by process" in taken.stderr

        running = read_state(state)
        assert running is not None
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
    assert not alive(running.pid)
    assert run("status", "--grpc-url", shown["grpc"]).returncode == 7


def test_a_port_held_by_somebody_else_is_not_stolen(repository: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port} \(http\) is taken by process {os.getpid()}"):
            TritonServer(repository, http_port=port).start()


IDLING = """import pathlib, time

class TritonPythonModel:
    def initialize(self, args):
        seen = pathlib.Path(__file__).with_name("seen")
        first = not seen.exists()
        seen.touch()
        time.sleep({first} if first else {then})

    def execute(self, requests):
        raise NotImplementedError
"""


@pytest.mark.parametrize(("first", "then"), [(600, 0), (7, 7)], ids=["hangs once", "is only slow"])
def test_a_load_that_does_nothing_is_begun_once_more_and_then_has_its_time(
    repository: Path, monkeypatch: pytest.MonkeyPatch, first: int, then: int
) -> None:
    monkeypatch.setattr("serving.loads._IDLE_S", 3.0)
    (repository / "echo" / "1" / "model.py").write_text(IDLING.format(first=first, then=then))
    with TritonServer(repository, drain_s=1) as server, server.control() as control:
        assert control.ready("echo")


def test_a_process_that_was_being_started_when_all_were_killed_is_ended_by_the_next_start(repository: Path) -> None:
    model = repository / "echo" / "1" / "model.py"
    plain = model.read_text()
    model.write_text(IDLING.format(first=600, then=600))
    code = "import sys; from pathlib import Path; import serving; serving.TritonServer(Path(sys.argv[1])).start()"

    def kill() -> tuple[int, set[Path]]:
        model.with_name("seen").unlink(missing_ok=True)
        with subprocess.Popen([sys.executable, "-c", code, str(repository)]) as parent:
            try:
                wait_until(lambda: model.with_name("seen").is_file())
            finally:
                parent.kill()
        (stub,) = (pid for pid in working_on(repository) if "python_b" in Path(f"/proc/{pid}/comm").read_text())
        server = int(Path(f"/proc/{stub}/stat").read_text().rpartition(")")[2].split()[1])
        held = mapped_by(server)
        os.kill(server, signal.SIGKILL)
        wait_until(lambda: not alive(server))
        return stub, held

    stub, held = left_behind(kill, lambda left: alive(left[0]) and left[1] <= regions())
    model.write_text(plain)
    with TritonServer(repository) as again:
        assert not alive(stub)
        assert not held & regions()
        assert infer(again.grpc_url, 0.0) == 0.0


@pytest.fixture
def hang(repository: Path) -> Path:
    """The file that makes loads of 'echo' hang, not written yet: see tests/hanging.py."""
    return make_hanging(repository / "echo")


def test_a_server_that_waits_for_a_dead_process_is_started_once_more(repository: Path, hang: Path) -> None:
    hang.touch()
    start = time.monotonic()
    with TritonServer(repository) as server, server.control() as control:
        assert control.ready("echo")
    assert not hang.exists()
    assert time.monotonic() - start < 60


def test_started_again_it_listens_once_its_models_are_loaded_as_far_as_they_load(repository: Path) -> None:
    shutil.copytree(MODELS / "echo", repository / "spoilt")
    (repository / "spoilt" / "config.pbtxt").write_text(
        (repository / "echo" / "config.pbtxt").read_text().replace('"echo"', '"spoilt"')
    )
    with TritonServer(repository) as server:
        (repository / "spoilt" / "1" / "model.py").write_text("raise ValueError('spoilt')")
        server.kill()
        server.wait(10.0)
        url, heard = f"http://{server.http_url}/v2/models/echo/ready", set()
        with ThreadPoolExecutor(1) as pool:
            again = pool.submit(server.restart)
            while not again.done():
                try:
                    with urllib.request.urlopen(url, timeout=5) as answer:
                        heard.add(answer.status)
                except urllib.error.HTTPError as error:
                    heard.add(error.code)
                except OSError:
                    time.sleep(0.01)
        assert again.result() is None
        assert heard == {200}
        assert infer(server.grpc_url, 0.0) == 0.0
        assert "spoilt" in server.failures["spoilt"]


def test_one_that_waits_for_a_dead_process_when_it_is_started_again_is_started_once_more(
    repository: Path, hang: Path
) -> None:
    with TritonServer(repository) as server, server.control() as control:
        hang.touch()
        server.kill()
        server.wait(10.0)
        server.restart()
        assert not hang.exists()
        assert control.ready("echo")


def test_one_that_waits_for_ever_is_told_of_and_leaves_nothing_behind(repository: Path, hang: Path) -> None:
    hang.write_text(ALWAYS)
    with pytest.raises(LoadHangs, match="could not load model 'echo': a process of it died, and Triton has waited"):
        TritonServer(repository).start()
    # Other tests have servers of their own at the same time.
    wait_until(lambda: not working_on(repository))


def test_a_restart_that_is_interrupted_leaves_no_shared_memory(repository: Path) -> None:
    mine: set[Path] = set()

    def interrupt() -> None:
        def mapped() -> bool:
            for pid in working_on(repository):
                with contextlib.suppress(FileNotFoundError):
                    mine.update(mapped_by(pid))
            return bool(mine)

        wait_until(mapped)
        os.kill(os.getpid(), signal.SIGINT)

    with TritonServer(repository) as server:
        server.kill()
        server.wait()
        wait_until(lambda: not working_on(repository))
        later = threading.Thread(target=interrupt)
        later.start()
        with pytest.raises(KeyboardInterrupt):
            server.restart()
        later.join()
    assert mine
    assert not mine & regions()
    assert not working_on(repository)
