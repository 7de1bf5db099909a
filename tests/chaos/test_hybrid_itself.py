"""The hybrid is killed, and loaded anew again and again, under load."""

import signal
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from understudy_client import HybridClient

from serving.shared_memory import SHM, sweep_orphans
from tests.live.hybrid_net import right

from .crowd import Crowd


def test_the_hybrid_is_killed_mid_call(triton, net_of, watched, figures):
    """It is back without anybody's help, and who asks meanwhile hears of it.

    24.10 never answers the requests that a dead process had taken on: those end by their callers' own deadline, and
    it keeps the process's region of shared memory for them. It is gone with the server.
    """
    net = net_of("beheaded")
    net.behave("onnx", sleep_s={"all": 0.2})
    regions = len(list(SHM.glob("triton_*")))
    (hybrid,) = net.stubs("hybrid")
    with Crowd(triton.server.grpc_url, net.name, 16, deadline_s=10.0) as crowd:
        crowd.more(50, "onnx")
        net.signal("hybrid", signal.SIGKILL)
        killed = time.monotonic()
        # Others come while it is dead; what is asked then is answered by an error.
        with Crowd(triton.server.grpc_url, net.name, 16, deadline_s=10.0) as later:
            later.until(lambda told: bool(told.errors), timeout_s=10)
            figures["first_error_s"] = time.monotonic() - killed
            later.more(1, "onnx", timeout_s=30)
            figures["back_s"] = time.monotonic() - killed
            later.more(100, "onnx")
    figures["errors"] = sum(later.told.errors.values())
    waits = sorted(later.told.refusal_s)
    figures["wait_for_an_error_s"], figures["longest_wait_for_an_error_s"] = waits[len(waits) // 2], waits[-1]
    figures["ended_by_their_own_deadline"] = crowd.told.errors["DEADLINE_EXCEEDED: Deadline Exceeded"]
    figures["orphaned_regions"] = len(sweep_orphans())
    figures["regions_more"] = len(list(SHM.glob("triton_*"))) - regions
    assert crowd.told.wrong == later.told.wrong == []
    assert figures["ended_by_their_own_deadline"] <= 16
    assert figures["wait_for_an_error_s"] <= 2.0, later.told.errors
    # Who asks before the watch has seen the death waits for Triton's own word: 1.9 s, where nothing else holds it up.
    assert figures["longest_wait_for_an_error_s"] <= 4.0, later.told.errors
    assert figures["back_s"] <= 15
    assert figures["orphaned_regions"] == 0
    assert figures["regions_more"] <= 1
    assert net.stubs("hybrid") != [hybrid]


def test_clients_that_give_up_an_attempt_are_answered_although_the_hybrid_is_killed(triton, net_of, watched, figures):
    net = net_of("succeeded")
    net.behave("onnx", sleep_s={"all": 0.2})
    stop, took = threading.Event(), []

    def ask(seed):
        """Until it is enough; the seconds of each call. An error ends the test."""
        x = np.full((1, 3), seed, np.float32)
        while not stop.is_set():
            start = time.monotonic()
            assert client.predict({"x": x}, model=net.name).outputs["y"].tobytes() == right(x).tobytes()
            took.append(time.monotonic() - start)

    with (
        HybridClient(triton.server.grpc_url, retries=8, attempt_timeout_s=2) as client,
        ThreadPoolExecutor(16) as pool,
    ):
        asked = [pool.submit(ask, seed) for seed in range(16)]
        time.sleep(2)
        net.signal("hybrid", signal.SIGKILL)
        time.sleep(8)
        stop.set()
        for one in asked:
            one.result()
    figures["answers"] = len(took)
    figures["slowest_s"] = max(took)
    figures["slow"] = sum(each > 1 for each in took)
    assert figures["slow"] >= 16
    assert figures["slowest_s"] <= 15


def test_the_hybrid_is_reloaded_50_times_while_its_metrics_are_read(triton, net_of, figures):
    net = net_of("renamed")
    config = triton.repository / net.name / "config.pbtxt"
    stop = threading.Event()
    pages = []

    def scrape():
        while not stop.wait(0.05):
            with urllib.request.urlopen(f"http://{triton.server.metrics_url}/metrics", timeout=10) as page:
                pages.append(page.read().decode().count('model="renamed"'))

    reader = threading.Thread(target=scrape)
    reader.start()
    pid, start = triton.server.pid, time.monotonic()
    with Crowd(triton.server.grpc_url, net.name, 4) as crowd:
        for turn in range(50):
            if turn % 2:
                triton.control.unload(net.name)
            else:
                # Changed, it is loaded beside the old one, and each has metrics.
                config.touch()
            triton.control.load(net.name)
            crowd.more(1)
    figures["seconds_a_reload"] = (time.monotonic() - start) / 50
    stop.set()
    reader.join()
    figures["pages_read"] = len(pages)
    figures["answers"] = crowd.told.answered
    assert (triton.server.pid, triton.server.wait(0.0)) == (pid, None)
    assert len(pages) > 50
    assert crowd.told.wrong == []
