"""Two real Tritons behind a real HAProxy, with the files of deploy/haproxy: what callers meet when one goes."""

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
from understudy_client import HybridClient, ServerUnavailable, UnderstudyClientError

from loadtests.replicas.__main__ import main as curve
from loadtests.replicas.balancer import Addresses, Balancer, balancer
from serving import TritonServer
from serving.ports import LOOPBACK, choose

from ..programs import program
from .conftest import LiveTriton
from .hybrid_net import Net, Shape, right, series

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TOOL = SimpleNamespace(**run_path(str(DEPLOY / "haproxy" / "replicas.py")))
NAMES = ("one", "two")
LIBRARIES = ("liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")
# A row of 40 KB: more than HAProxy would keep of a request if nothing else were said, and answered in several frames.
WIDE = 10_000
# Of a caller, between two requests: eight of them ask a hundred times a second then.
PAUSE_S = 0.08


@dataclass
class Replicas:
    """The servers by name, each on a repository of its own, and HAProxy in front of them."""

    servers: dict[str, TritonServer]
    nets: dict[str, Net]
    haproxy: Balancer

    @property
    def log(self) -> str:
        return self.haproxy.log.read_text()

    def url(self, protocol: str) -> str:
        return str(getattr(self.haproxy.addresses, protocol))

    def tool(self, *arguments: str, code: int = 0) -> str:
        """Run replicas.py as its user would."""
        assert self.haproxy.process.poll() is None, self.log
        done = self.haproxy.tool(*arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def replica(self, name: str) -> Any:
        """What replicas.py knows of a replica, without a process of its own for each look."""
        assert self.haproxy.process.poll() is None, self.log
        return next(one for one in TOOL.replicas(self.haproxy.socket) if one.name == name)

    def state(self, name: str) -> str:
        return "/".join(dict.fromkeys(self.replica(name).states))

    def until(self, name: str, state: str, timeout_s: float = 30.0) -> None:
        end = time.monotonic() + timeout_s
        while not self.state(name).startswith(state):
            assert time.monotonic() < end, self.tool("status") + self.log
            time.sleep(0.1)

    def given(self, name: str) -> int:
        """How many requests HAProxy has given to a replica, its checks aside."""
        return int(self.replica(name).answered)

    def answered(self, name: str) -> float:
        """How many requests the hybrid of a replica has answered, itself and since it was loaded."""
        found = series(self.nets[name].triton, "replica_net")
        return sum(value for key, value in found.items() if key[0] == "ml_inference_total")


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    servers, nets = {}, {}
    with contextlib.ExitStack() as stack:
        for name in NAMES:
            root = tmp_path_factory.mktemp(name)
            (root / "repository").mkdir()
            servers[name] = TritonServer(root / "repository", log_path=root / "triton.log", **_fixed())
            stack.enter_context(servers[name])
            with servers[name].control() as control:
                net = Net(LiveTriton(servers[name], root / "repository", control), "replica_net", Shape())
                nets[name] = net.load()
            stack.callback(nets[name].client.close)
        addresses = {name: Addresses(server.http_url, server.grpc_url) for name, server in servers.items()}
        binary = program("haproxy", "haproxy", libraries=LIBRARIES)
        made = Replicas(servers, nets, stack.enter_context(balancer(str(binary), addresses, ["replica_net"])))
        yield made
        assert made.haproxy.process.poll() is None, made.log


def _fixed() -> Any:
    """Ports that stay when a server is stopped and started again, as HAProxy knows no others."""
    return {f"{name}_port": port for name, port in choose({"http": None, "grpc": None, "metrics": None}).items()}


@pytest.fixture(params=["grpc", "http"])
def protocol(request: pytest.FixtureRequest) -> Any:
    return request.param


class Callers:
    """Clients that ask through HAProxy on and on, and check every answer. A context manager.

    While answers are waited for they ask without a pause, as when a test has just waited and breaks something: each has
    a request under way then. While servers start and checks find out they pause, or they would take the processors.
    """

    def __init__(self, replicas: Replicas, protocol: Any, callers: int = 8, width: int = 4) -> None:
        self._client = HybridClient(replicas.url(protocol), protocol=protocol, model="replica_net", timeout_s=20)
        self._threads = [threading.Thread(target=self._ask_on, args=(n, width)) for n in range(callers)]
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._waited_for = threading.Event()
        self.answered = 0
        self.failures: list[str] = []

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: Any, error: Any, trace: types.TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._client.close()

    def more(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait for so many more answers."""
        goal, end = self.answered + count, time.monotonic() + timeout_s
        self._waited_for.set()
        while self.answered < goal:
            assert time.monotonic() < end, self.failures[:3]
            time.sleep(0.01)
        self._waited_for.clear()

    def _ask_on(self, caller: int, width: int) -> None:
        random = np.random.default_rng(caller)
        while not self._stop.is_set():
            self._waited_for.wait(PAUSE_S)
            x = random.random((int(random.integers(1, 4)), width), dtype=np.float32)
            try:
                wrong = "" if np.array_equal(self._client.predict(x).output, right(x)) else "wrong values"
            except UnderstudyClientError as error:
                wrong = f"{type(error).__name__}: {error}"
            with self._lock:
                self.answered += 1
                if wrong:
                    self.failures.append(wrong)


@contextmanager
def under_load(replicas: Replicas, protocol: Any, **options: int) -> Iterator[Callers]:
    """Callers before, while and after, of whom none may fail."""
    with Callers(replicas, protocol, **options) as callers:
        callers.more(100)
        yield callers
        callers.more(100)
    assert callers.failures == [], f"of {callers.answered}"


def test_the_requests_of_one_client_spread_over_both(replicas: Replicas, protocol: Any) -> None:
    before = {name: replicas.answered(name) for name in NAMES}

    def given() -> dict[str, float]:
        return {name: replicas.answered(name) - before[name] for name in NAMES}

    # Of one connection that stays with one server, the other sees nothing. How much each gets is not asked: whoever
    # answers sooner gets more, and one that other tests leave no processor is put aside for a while.
    end = time.monotonic() + 60
    with under_load(replicas, protocol) as callers:
        while min(given().values()) < 50:
            assert time.monotonic() < end, given()
            callers.more(100)


def test_what_is_longer_than_the_buffer_passes(replicas: Replicas, protocol: Any) -> None:
    x = np.random.default_rng(0).random((3, 400_000), dtype=np.float32)
    with HybridClient(replicas.url(protocol), protocol=protocol, model="replica_net") as client:
        for _ in range(4):
            np.testing.assert_array_equal(client.predict(x).output, right(x))


def test_a_stream_is_answered_while_it_is_open(replicas: Replicas) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    x = np.ones((1, 4), np.float32)
    tensor = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(x)
    with tritonclient.grpc.InferenceServerClient(replicas.url("grpc")) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for _ in range(5):
            client.async_stream_infer("replica_net", [tensor])
            result, error = answers.get(timeout=5)
            assert error is None
            np.testing.assert_array_equal(result.as_numpy("y"), right(x))


@pytest.mark.parametrize("width", [4, WIDE], ids=["small", "wide"])
def test_a_replica_that_is_killed_under_load_costs_nothing(replicas: Replicas, protocol: Any, width: int) -> None:
    with under_load(replicas, protocol, width=width) as callers:
        os.kill(replicas.servers["one"].pid, signal.SIGKILL)
        callers.more(100)
        replicas.until("one", "DOWN")
        replicas.servers["one"].restart()
        replicas.until("one", "UP")
        before = replicas.answered("one")
        _until(lambda: replicas.answered("one") > before)


def test_a_replica_that_is_drained_costs_no_request_and_gets_none(replicas: Replicas, protocol: Any) -> None:
    with under_load(replicas, protocol) as callers:
        replicas.tool("drain", "two")
        drained = replicas.given("two")
        callers.more(200)
        assert replicas.given("two") == drained
        before = replicas.answered("two")
        replicas.tool("enable", "two")
        _until(lambda: replicas.given("two") - drained > 50)
        _until(lambda: replicas.answered("two") - before > 50)


def test_a_rolling_replacement_costs_no_request(replicas: Replicas, protocol: Any) -> None:
    with under_load(replicas, protocol) as callers:
        for name in NAMES:
            server = replicas.servers[name]
            pid = server.pid
            replicas.tool("drain", name)
            server.stop()
            callers.more(50)
            server.start()
            assert server.pid != pid
            replicas.tool("enable", name)
            callers.more(50)


def test_a_replica_counts_as_enabled_once_no_check_from_before_can_take_it_out(replicas: Replicas) -> None:
    check = Path(replicas.haproxy.socket).parent / "understudy" / "haproxy" / "check.py"
    shipped, late = check.with_suffix(".shipped"), check.with_suffix(".late")
    shutil.copy2(check, shipped)
    shutil.copy2(check, late)
    port = replicas.servers["one"].http_url.rpartition(":")[2]
    late.write_text(
        f"#!/usr/bin/env python3\nimport sys, time\nif sys.argv[4] == '{port}':\n    time.sleep(4)\n    sys.exit(1)\n"
    )
    with under_load(replicas, "http") as callers:
        late.replace(check)
        replicas.until("one", "UP 1/2")
        replicas.tool("drain", "one")
        time.sleep(0.7)  # the next check follows 0.3 s after the one that failed
        shipped.replace(check)
        replicas.tool("enable", "one")
        replicas.tool("drain", "two")
        end = time.monotonic() + 6
        while time.monotonic() < end:
            assert replicas.state("one").startswith("UP")
            callers.more(10)
            time.sleep(0.1)
        replicas.tool("enable", "two")


def test_requests_in_flight_are_answered_before_a_replica_counts_as_drained(replicas: Replicas, protocol: Any) -> None:
    for net in replicas.nets.values():
        for twin in ("onnx", "original"):
            net.behave(twin, sleep_s={"9.0": 1.2})
    try:
        with HybridClient(replicas.url(protocol), protocol=protocol, model="replica_net") as client:
            client.describe()
            answers: list[Any] = []
            x = np.full((1, 4), 9, np.float32)
            slow = [threading.Thread(target=lambda: answers.append(client.predict(x).output)) for _ in range(4)]
            for thread in slow:
                thread.start()
            time.sleep(0.4)
            replicas.tool("drain", "one")
            assert "in flight 0" in replicas.tool("status").splitlines()[0]
            for thread in slow:
                thread.join()
            replicas.tool("enable", "one")
        assert [answer.tolist() for answer in answers] == [right(x).tolist()] * 4
    finally:
        for net in replicas.nets.values():
            for twin in ("onnx", "original"):
                net.behave(twin)


def test_a_replica_whose_hybrid_has_died_is_taken_out_though_triton_says_that_it_is_ready(replicas: Replicas) -> None:
    net, server = replicas.nets["two"], replicas.servers["two"]
    net.signal("hybrid", signal.SIGKILL)
    replicas.until("two", "DOWN")
    with server.control() as control:
        assert control.ready("replica_net")
    with under_load(replicas, "grpc") as callers:
        callers.more(100)
    with server.control() as control:
        control.reload("replica_net")
    replicas.until("two", "UP")


def test_more_replicas_are_measured_in_turn_and_drawn(tmp_path: Path, capfd: Any, monkeypatch: Any) -> None:
    # Figures are wanted, not good ones.
    monkeypatch.setattr("loadtests.replicas.__main__._WARM_UP_S", 0.5)
    binary = program("haproxy", "haproxy", libraries=LIBRARIES)
    output = tmp_path / "replicas.json"
    repository = tmp_path / "repository"
    repository.mkdir()
    # Written, and loaded by the servers that are measured.
    nowhere = SimpleNamespace(repository=repository, server=SimpleNamespace(grpc_url=f"{LOOPBACK}:1"))
    Net(nowhere, "replica_net", Shape()).client.close()
    words = ["--repository", str(repository), "--model", "replica_net", "--replicas", "1", "2", "--clients", "4"]
    words += ["--rounds", "2", "--seconds", "0.5", "--haproxy", str(binary), "--output", str(output)]
    assert curve(words) == 0
    found = json.loads(output.read_text())
    assert found["replicas"].keys() == {"1", "2"}
    for one in found["replicas"].values():
        assert len(one["rounds"]) == 2
        assert one["per_s"] > 10
        assert 0 < one["p50_ms"] <= one["p99_ms"]
    assert found["replicas"]["1"]["ratio"] == 1
    page = output.with_suffix(".html").read_text()
    assert "replica_net" in page
    assert "<svg" in page
    assert re.search(r"^ +2 .* \(\d\.\d\d to \d\.\d\d\)$", capfd.readouterr().out, re.MULTILINE)
    assert curve([*words, "--haproxy", str(tmp_path / "none")]) == 2
    assert "none cannot be run: No such file or directory; apt install haproxy" in capfd.readouterr().err


def test_a_replica_that_is_slow_stays(replicas: Replicas) -> None:
    slow = replicas.nets["two"]
    for twin in ("onnx", "original"):
        slow.behave(twin, sleep_s={"0.0": 2.5})
    try:
        before = replicas.answered("two")
        end = time.monotonic() + 60
        while replicas.answered("two") < before + 3:
            # "UP 1/2" is one check that failed, as any may on a busy machine.
            assert replicas.state("two").startswith("UP")
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        slow.settle()


def test_a_replica_that_lost_a_twin_stays(replicas: Replicas) -> None:
    net, server = replicas.nets["one"], replicas.servers["one"]
    with server.control() as control:
        control.unload("replica_net_onnx")
        with under_load(replicas, "grpc") as callers:
            callers.more(200)
            time.sleep(11)  # two checks
            assert replicas.state("one").startswith("UP")
        control.load("replica_net_onnx")
    net.settle()


def test_without_any_replica_callers_hear_of_it_at_once(replicas: Replicas, protocol: Any) -> None:
    for name in NAMES:
        replicas.tool("drain", name)
    try:
        with HybridClient(replicas.url(protocol), protocol=protocol, model="replica_net", retries=1) as client:
            started = time.monotonic()
            with pytest.raises(ServerUnavailable):
                client.predict([[1.0]])
            assert time.monotonic() - started < 10
    finally:
        for name in NAMES:
            replicas.tool("enable", name)


def test_what_cannot_be_done_is_one_sentence(replicas: Replicas, tmp_path: Path) -> None:
    assert "No such server" in replicas.tool("drain", "three", code=2)
    command = [sys.executable, str(DEPLOY / "haproxy" / "replicas.py"), "status", "--socket", str(tmp_path / "none")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert re.fullmatch(r".*/none: expected HAProxy's socket, found FileNotFoundError: .*\n", done.stderr)


def check(folder: Path, address: str) -> subprocess.CompletedProcess[str]:
    host, port = address.split(":")
    command = [sys.executable, str(folder / "check.py"), "-", "-", host, port]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30, env={})


def test_the_check_says_what_does_not_answer(replicas: Replicas, tmp_path: Path) -> None:
    installed, url = Path(replicas.haproxy.socket).parent / "understudy" / "haproxy", replicas.servers["one"].http_url
    assert (check(installed, url).returncode, check(installed, url).stderr) == (0, "")
    with socket.create_server((LOOPBACK, 0)) as free:
        port = free.getsockname()[1]
    refused = check(installed, f"{LOOPBACK}:{port}")
    assert (refused.returncode, "ConnectionRefusedError" in refused.stderr) == (1, True)
    shutil.copytree(installed.parent, tmp_path / "other")
    models = tmp_path / "other" / "haproxy" / "models"
    for names, sentence in (
        ("replica_net\nnowhere\n", "/v2/models/nowhere/config: status 404"),
        ("# none\n", "names no"),
    ):
        models.write_text(names)
        found = check(models.parent, url)
        assert found.returncode == 1
        assert sentence in found.stderr


def test_haproxy_waits_longer_than_a_hybrid() -> None:
    text = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    limits = {name: int(value) for name, value in re.findall(r"timeout (\w+) +(\d+)s", text)}
    hybrid = re.search(r'"deadline_ms", ([\d_.]+)\)', (ROOT / "python_backend" / "hybrid" / "settings.py").read_text())
    assert hybrid is not None
    assert limits["server"] * 1000 > float(hybrid[1])
    # HAProxy would end a check after `timeout connect` then, which is for connecting.
    assert "check" not in limits


def test_a_check_gives_up_before_haproxy_ends_it() -> None:
    check = re.search(r"_TIMEOUT_S = ([\d.]+)", (DEPLOY / "haproxy" / "check.py").read_text())
    inter = re.search(r" inter (\d+)s", (DEPLOY / "haproxy" / "haproxy.cfg").read_text())
    assert check is not None
    assert inter is not None
    assert float(check[1]) < float(inter[1])


def _until(holds: Callable[[], bool], timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.2)
