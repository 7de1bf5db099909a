"""The watch on a real Triton: what is killed comes back by itself, and whoever asks meanwhile asks again."""

import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from understudy_client import HybridClient, UnderstudyClientError

from serving import read_state
from serving.shared_memory import SHM, sweep_orphans
from serving.watch.care import Policy
from serving.watch.rounds import Watch
from serving.watch.telling import Telling

from .hybrid_net import Load, Net, Shape, right

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def net(triton):
    made = Net(triton, "watched", Shape()).load()
    yield made
    made.close()


@pytest.fixture
def watched(triton, net):
    """The net's three models are looked after; gives the lines that are told."""
    lines = []
    only = frozenset({net.name, f"{net.name}_onnx", f"{net.name}_original"})
    watch = Watch(triton.control, Telling(lines.append), policy=Policy(interval_s=1.0), only=only)
    stop = threading.Event()
    thread = threading.Thread(target=watch.run, args=(stop,))
    thread.start()
    yield lines
    stop.set()
    thread.join()


def small(random):
    return random.standard_normal((int(random.integers(1, 4)), 5)).astype(np.float32)


def test_a_twin_that_is_killed_under_load_is_brought_back_and_asked_first_again(net, watched):
    with Load(net, 16, small) as load:
        load.more(200, "onnx")
        net.signal("onnx", signal.SIGKILL)
        load.more(50, "original", timeout_s=20)
        load.more(500, "onnx", timeout_s=30)
    assert load.failures == []
    assert any("watched_onnx is back, after " in line for line in watched)


def test_a_hybrid_that_is_killed_is_brought_back_and_leaves_no_shared_memory(net, watched):
    regions = len(list(SHM.iterdir()))
    x = np.ones((2, 3), np.float32)
    net.ask(x)
    (hybrid,) = net.stubs("hybrid")
    killed = time.monotonic()
    subprocess.run(["kill", "-9", str(hybrid)], check=True)
    while True:
        try:
            answer = net.ask(x)
            break
        except Exception:  # noqa: BLE001 - whatever it says, there is nobody to ask
            assert time.monotonic() - killed < 15
            time.sleep(0.1)
    assert answer.outputs["y"].tobytes() == right(x).tobytes()
    assert sweep_orphans() == []
    assert len(list(SHM.iterdir())) == regions


def test_a_server_that_is_killed_is_started_again_where_it_was(tmp_path, triton, net):
    """Callers who ask again are answered; what was unloaded by hand stays so."""
    state = tmp_path / "server.json"
    log = tmp_path / "triton.log"
    command = [sys.executable, "-m", "serving", "serve", "--repository", str(triton.repository), "--state", str(state)]
    ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", "--watch-port", "0", "--interval", "1"]
    with subprocess.Popen(
        [*command, *ports, "--log", str(log)], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as serve:
        shown = dict(serve.stdout.readline().rstrip("\n").split("\t") for _ in range(5))
        running = read_state(state)
        client = HybridClient(shown["grpc"], timeout_s=20, retries=30)
        x = np.ones((2, 3), np.float32)
        client.predict({"x": x}, model=net.name)
        client.unload(f"{net.name}_original")
        time.sleep(2.5)
        killed = time.monotonic()
        subprocess.run(["kill", "-9", str(running.pid)], check=True)
        while True:
            try:
                answer = client.predict({"x": x}, model=net.name)
                break
            except UnderstudyClientError:
                assert time.monotonic() - killed < 20
        assert answer.outputs["y"].tobytes() == right(x).tobytes()
        assert read_state(state).pid != running.pid
        assert read_state(state).grpc_url == running.grpc_url == shown["grpc"]
        assert log.with_name("triton.log.1").is_file()
        with urllib.request.urlopen(shown["watch"], timeout=5) as page:
            assert "understudy_watch_server_restarts_total 1.0" in page.read().decode()
        serve.send_signal(signal.SIGTERM)
        _, told = serve.communicate(timeout=60)
    assert serve.returncode == 0
    assert "ALARM: tritonserver ended with -9; it is started again" in told
