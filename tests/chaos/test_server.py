"""tritonserver itself is killed, under `make serve`'s own command."""

import contextlib
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
from understudy_client import HybridClient, UnderstudyClientError

from serving import read_state
from tests.live.hybrid_net import right

PROJECT = Path(__file__).parents[2]


@contextlib.contextmanager
def serving(command):
    """The command while it runs; it does not outlive the test."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=PROJECT, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_server_is_killed_and_started_again_where_it_was(tmp_path, triton, net_of, figures):
    """Callers who ask again are answered; what was unloaded by hand stays so."""
    net = net_of("restarted")
    state, log = tmp_path / "server.json", tmp_path / "triton.log"
    command = [sys.executable, "-m", "serving", "serve", "--repository", str(triton.repository), "--state", str(state)]
    ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", "--watch-port", "0", "--interval", "1"]
    with serving([*command, *ports, "--log", str(log)]) as serve:
        shown = dict(serve.stdout.readline().rstrip("\n").split("\t") for _ in range(5))
        running = read_state(state)
        x = np.ones((2, 3), np.float32)
        with HybridClient(shown["grpc"], timeout_s=20, retries=8) as client:
            client.predict({"x": x}, model=net.name)
            client.unload(f"{net.name}_original")
            time.sleep(2.5)
            killed = time.monotonic()
            subprocess.run(["kill", "-9", str(running.pid)], check=True)
            figures["calls"] = 0
            while True:
                figures["calls"] += 1
                try:
                    answer = client.predict({"x": x}, model=net.name)
                    break
                except UnderstudyClientError:
                    assert time.monotonic() - killed < 20
                    time.sleep(0.05)
            figures["back_s"] = time.monotonic() - killed
            served = {one.name for one in client.models() if one.state == "READY"}
        again = read_state(state)
        with urllib.request.urlopen(shown["watch"], timeout=5) as page:
            told = page.read().decode()
        serve.send_signal(signal.SIGTERM)
        _, lines = serve.communicate(timeout=60)
    assert answer.outputs["y"].tobytes() == right(x).tobytes()
    assert figures["back_s"] < 20
    assert again.pid != running.pid
    assert again.grpc_url == running.grpc_url == shown["grpc"]
    assert f"{net.name}_original" not in served
    assert log.with_name("triton.log.1").is_file()
    assert "understudy_watch_server_restarts_total 1.0" in told
    assert serve.returncode == 0
    assert "ALARM: tritonserver ended with -9; it is started again" in lines
