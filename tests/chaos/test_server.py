"""tritonserver itself ends, under `make serve`'s own command: it is killed, or ended for a dead hybrid."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
from understudy_client import HybridClient

from serving import read_state
from serving.stubs import Stubs
from tests.hanging import make_hanging
from tests.live.hybrid_net import right
from tests.regions import mapped_by

from .crowd import Crowd

PROJECT = Path(__file__).parents[2]
ECHO = PROJECT / "tests" / "live" / "serving_models" / "echo"


@contextlib.contextmanager
def serving(repository, folder, *options):
    """The command on free ports: the process, and what it shows first. It does not outlive the test."""
    command = [sys.executable, "-m", "serving", "serve", "--repository", str(repository), "--interval", "1"]
    files = ["--state", str(folder / "server.json"), "--log", str(folder / "triton.log")]
    ports = [part for service in ("http", "grpc", "metrics", "watch") for part in (f"--{service}-port", "0")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, *files, *ports, *options], cwd=PROJECT, **pipes) as process:
        try:
            yield process, dict(process.stdout.readline().rstrip("\n").split("\t") for _ in range(5))
        finally:
            process.kill()


def wait_until(true, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so within {seconds:g} s"
        time.sleep(0.02)


def told_by(watch):
    """The page of the watch."""
    with urllib.request.urlopen(watch, timeout=5) as page:
        return page.read().decode()


def probes(watch, model):
    """How often the watch has found that this model answers."""
    found = re.search(rf'understudy_watch_probes_total{{model="{model}",outcome="ok"}} (\S+)', told_by(watch))
    return float(found[1]) if found else 0.0


def stopped(process):
    """What it told until it was stopped. It ends in good order."""
    process.send_signal(signal.SIGTERM)
    _, lines = process.communicate(timeout=60)
    assert process.returncode == 0
    return lines


def test_the_server_is_killed_and_started_again_where_it_was(tmp_path, triton, net_of, figures):
    """A client's own retries bring an answer; what was unloaded by hand stays so."""
    net = net_of("restarted")
    with serving(triton.repository, tmp_path) as (serve, shown):
        running = read_state(tmp_path / "server.json")
        x = np.ones((2, 3), np.float32)
        with HybridClient(shown["grpc"], timeout_s=20, retries=60) as client:
            client.predict({"x": x}, model=net.name)
            client.unload(f"{net.name}_original")
            before = probes(shown["watch"], net.name)
            # The second round has begun since, and so seen that it is gone.
            wait_until(lambda: probes(shown["watch"], net.name) >= before + 2)
            killed = time.monotonic()
            os.kill(running.pid, signal.SIGKILL)
            answer = client.predict({"x": x}, model=net.name)
            figures["back_s"] = time.monotonic() - killed
            served = {one.name for one in client.models() if one.state == "READY"}
        again = read_state(tmp_path / "server.json")
        told = told_by(shown["watch"])
        lines = stopped(serve)
    assert answer.outputs["y"].tobytes() == right(x).tobytes()
    assert figures["back_s"] < 20
    assert again.pid != running.pid
    assert again.grpc_url == running.grpc_url == shown["grpc"]
    assert f"{net.name}_original" not in served
    assert (tmp_path / "triton.log.1").is_file()
    assert "understudy_watch_server_restarts_total 1.0" in told
    assert "ALARM: tritonserver ended with -9; it is started again" in lines


def test_the_hybrid_is_killed_mid_call_where_the_server_starts_again_for_that(tmp_path, triton, net_of, figures):
    """Nobody waits for an answer that cannot come any more, and nothing is left of the dead process."""
    net = net_of("abdicated")
    net.behave("onnx", sleep_s={"all": 0.2})
    with serving(triton.repository, tmp_path, "--on-hybrid-death", "restart") as (serve, shown):
        server = read_state(tmp_path / "server.json").pid
        (hybrid,) = Stubs(server).of(net.name)
        held = mapped_by(server)
        with Crowd(shown["grpc"], net.name, 16, deadline_s=30.0) as crowd:
            crowd.more(50, "onnx")
            os.kill(hybrid, signal.SIGKILL)
            killed = time.monotonic()
            crowd.until(lambda told: told.errors.total() >= 16, timeout_s=20)
            figures["all_16_heard_of_it_s"] = time.monotonic() - killed
            crowd.more(1, "onnx")
            figures["back_s"] = time.monotonic() - killed
            crowd.more(100, "onnx")
        figures["errors"] = dict(crowd.told.errors)
        figures["longest_wait_for_an_error_s"] = max(crowd.told.refusal_s)
        figures["regions_left"] = sum(region.exists() for region in held)
        lines = stopped(serve)
    assert crowd.told.wrong == []
    assert {error.partition(":")[0] for error in crowd.told.errors} == {"UNAVAILABLE"}
    assert held
    assert figures["longest_wait_for_an_error_s"] <= 2.0
    assert figures["back_s"] <= 15
    assert figures["regions_left"] == 0
    assert f"ALARM: tritonserver was ended for {net.name}: its stub process has died; it is started again" in lines


def test_a_load_that_hangs_holds_up_no_other_repair_and_the_server_starts_again_for_it(tmp_path, figures):
    repository = tmp_path / "repository"
    for name in ("hanging", "other"):
        shutil.copytree(ECHO, repository / name)
        config = repository / name / "config.pbtxt"
        config.write_text(config.read_text().replace('"echo"', f'"{name}"').replace("count: 1", "count: 2"))
    hang = make_hanging(repository / "hanging")
    x = np.ones((1, 1), np.float32)
    with serving(repository, tmp_path) as (serve, shown):
        server = read_state(tmp_path / "server.json").pid
        with HybridClient(shown["grpc"], timeout_s=60, attempt_timeout_s=5, retries=60) as client:
            hang.touch()
            os.kill(Stubs(server).of("hanging")[0], signal.SIGKILL)
            killed = time.monotonic()
            wait_until(lambda: not hang.exists())
            other = Stubs(server).of("other")
            for pid in other:
                os.kill(pid, signal.SIGKILL)
            also_killed = time.monotonic()
            wait_until(lambda: len(set(Stubs(server).of("other")) - set(other)) == 2)
            client.predict({"x": x}, model="other")
            figures["other_back_s"] = time.monotonic() - also_killed
            assert read_state(tmp_path / "server.json").pid == server, "meanwhile the load hangs"
            wait_until(lambda: (state := read_state(tmp_path / "server.json")) and state.pid != server, 60)
            answer = client.predict({"x": x}, model="hanging")
            figures["hanging_back_s"] = time.monotonic() - killed
        lines = stopped(serve)
    assert answer.outputs["y"].tobytes() == x.tobytes()
    assert figures["other_back_s"] < 8
    assert figures["hanging_back_s"] < 40
    assert (
        "ALARM: hanging hangs while it loads, since a process of it died: only a new start of Triton ends that" in lines
    )
    assert "ALARM: tritonserver was ended for hanging: its load hangs; it is started again" in lines
