"""Hours of faults, or minutes of them: nothing may grow. SOAK=24h, 30m or 240s says how long; else four minutes."""

import os
import re
import signal
import statistics
import time
from dataclasses import asdict

from .crowd import Crowd
from .processes import Held, held

UNITS = {"s": 1, "m": 60, "h": 3600}
LOOKS = 48


def length_s():
    match = re.fullmatch(r"(\d+)([smh])", os.environ.get("SOAK", "240s"))
    assert match, "SOAK is a number of seconds, minutes or hours, such as 240s, 30m or 24h"
    return int(match[1]) * UNITS[match[2]]


def test_soak(triton, net_of, watched, figures):
    """Every so often the twin fails, lies, hangs, is killed or taken away; what is held is compared when it is well."""
    net = net_of("soaked", parameters={"deadline_ms": "5000", "primary_budget_ms": "500"})
    faults = [
        lambda: net.behave("onnx", error={"all": "no"}),
        lambda: net.behave("onnx", missing=["y"]),
        lambda: net.behave("onnx", sleep_s={"all": 1.0}),
        lambda: net.signal("onnx", signal.SIGKILL),
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
    assert figures["zombies"] == 0
    assert figures["rss_mb_growth"] <= 0.03 * figures["rss_mb"]
    assert figures["shm_mb_growth"] <= 1
    assert figures["mappings_growth"] <= 0.03 * figures["mappings"]
    assert figures["threads_growth"] <= 16
