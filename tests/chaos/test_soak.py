"""Hours of faults, or minutes of them: nothing may grow. SOAK=24h, 30m or 240s says how long; else four minutes."""

import os
import re
import signal
import statistics
import time
from dataclasses import asdict

import numpy as np

from .crowd import Crowd
from .processes import Held, held

UNITS = {"s": 1, "m": 60, "h": 3600}
LOOKS = 48


def length_s():
    match = re.fullmatch(r"(\d+)([smh])", os.environ.get("SOAK", "240s"))
    assert match, "SOAK is a number of seconds, minutes or hours, such as 240s, 30m or 24h"
    return int(match[1]) * UNITS[match[2]]


def test_soak(triton, net_of, watched, figures):
    """Every so often the twin fails, lies, hangs or is taken away; what is held is compared when it is well.

    It is not killed: 24.10 keeps what a dead process held until the server ends, as the test below shows.
    """
    net = net_of("soaked", parameters={"deadline_ms": "5000", "primary_budget_ms": "500"})
    faults = [
        lambda: net.behave("onnx", error={"all": "no"}),
        lambda: net.behave("onnx", missing=["y"]),
        lambda: net.behave("onnx", sleep_s={"all": 1.0}),
        lambda: triton.control.unload(f"{net.name}_onnx"),
    ]
    step_s = length_s() / LOOKS
    seen: list[Held] = []
    with Crowd(triton.server.grpc_url, net.name, 32) as crowd:
        for look in range(LOOKS):
            faults[look % len(faults)]()
            time.sleep(step_s * 0.4)
            net.behave("onnx")
            if look % len(faults) == len(faults) - 1:
                triton.control.load(f"{net.name}_onnx")
            time.sleep(step_s * 0.6)
            if look % len(faults) == 0:
                seen.append(held(triton.server.pid))
        crowd.more(100, "onnx", timeout_s=90)
    figures["answers"], figures["failed"] = crowd.told.answered, sum(crowd.told.errors.values())
    figures["by_the_original"] = crowd.told.served_by["original"]
    # The first look is at a server that has not met every fault yet.
    half = len(seen[1:]) // 2
    for key in asdict(seen[0]):
        values = [getattr(each, key) for each in seen[1:]]
        early, late = statistics.median(values[:half]), statistics.median(values[-half:])
        figures[key], figures[f"{key}_growth"] = late, late - early
    assert crowd.told.errors == {}
    assert crowd.told.wrong == []
    assert figures["by_the_original"] > 0
    assert figures["zombies_growth"] == 0
    assert figures["rss_mb_growth"] <= 0.03 * figures["rss_mb"]
    assert figures["shm_mb_growth"] <= 1
    assert figures["mappings_growth"] <= 0.03 * figures["mappings"]
    assert figures["threads_growth"] <= 16


def test_what_a_killed_process_leaves_until_the_server_ends(triton, net_of, watched, figures):
    """Its zombie and its region of shared memory: the watch counts them, and calls somebody when they are many."""
    net = net_of("left", twin_instances=1)
    x = np.ones((1, 3), np.float32)
    before = held(triton.server.pid)
    for killed in range(1, 4):
        end = time.monotonic() + 30
        while net.ask(x).served_by != ["onnx"]:
            assert time.monotonic() < end
            time.sleep(0.05)
        net.signal("onnx", signal.SIGKILL)
        while sum("left_onnx is back" in line for line in watched) < killed:
            assert time.monotonic() < end
            time.sleep(0.05)
    after = held(triton.server.pid)
    figures["zombies_a_kill"] = (after.zombies - before.zombies) / 3
    figures["shm_mb_a_kill"] = (after.shm_mb - before.shm_mb) / 3
    figures["rss_mb_a_kill"] = (after.rss_mb - before.rss_mb) / 3
    assert figures["zombies_a_kill"] <= 1
    assert figures["shm_mb_a_kill"] <= 140
