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
    figures |= growth(seen[1:])
    assert crowd.told.errors == {}
    assert crowd.told.wrong == []
    assert figures["by_the_original"] > 0
    assert grown(figures) == []


def test_a_twin_that_leaks_is_seen_by_the_same_look(triton, net_of, figures):
    net = net_of("leaking")
    net.behave("onnx", leak_kb=64)
    seen: list[Held] = []
    with Crowd(triton.server.grpc_url, net.name, 8) as crowd:
        for _ in range(8):
            crowd.more(400)
            seen.append(held(triton.server.pid))
    figures |= growth(seen)
    assert grown(figures) == ["rss_mb"]


def growth(seen):
    """What was held in the end, and how much more than at first, of each kind."""
    half = len(seen) // 2
    found = {}
    for key in asdict(seen[0]):
        values = [getattr(each, key) for each in seen]
        early, late = statistics.median(values[:half]), statistics.median(values[-half:])
        found[key], found[f"{key}_growth"] = late, late - early
    return found


def grown(figures):
    """The kinds that are not flat."""
    most = {
        "zombies": 0,
        "rss_mb": 0.03 * figures["rss_mb"],
        "shm_mb": 1,
        "mappings": 0.03 * figures["mappings"],
        "threads": 16,
    }
    return [key for key, limit in most.items() if figures[f"{key}_growth"] > limit]


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
