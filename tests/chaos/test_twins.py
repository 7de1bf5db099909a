"""The ONNX twin is killed, late, taken away or replaced by something broken, while callers ask."""

import signal
import time

import numpy as np
import pytest

from serving.errors import LoadFailed
from tests.live.hybrid_net import series, until

from .crowd import Crowd
from .processes import threads

# Triton 24.10 needs as long to say that a process is dead.
DEATH_S = 1.0


def test_the_twin_is_killed_under_load_of_64_clients(triton, net_of, watched, figures):
    net = net_of("killed")
    with Crowd(triton.server.grpc_url, net.name, 64) as crowd:
        crowd.more(1000, "onnx")
        net.signal("onnx", signal.SIGKILL)
        figures["first_fallback_s"] = crowd.more(1, "original")
        figures["primary_again_s"] = crowd.more(500, "onnx", timeout_s=30)
        crowd.more(1000)
    counts = series(triton, net.name)
    figures["answers"] = crowd.told.answered
    figures["failed"] = sum(crowd.told.errors.values())
    figures["slow_answers"] = sum(took >= 0.9 * DEATH_S for took in crowd.told.answer_s)
    figures["slowest_s"] = max(crowd.told.answer_s)
    figures["calls_to_the_dead"] = int(counts["ml_inference_failures_total", "onnx", "gone"])
    figures["breaker_opened"] = int(counts["ml_breaker_opened_total", "onnx"])
    assert crowd.told.errors == {}
    assert crowd.told.wrong == []
    # Those whose call was under way, on the hybrid's 16 threads, and nobody afterwards but for a probe.
    assert figures["calls_to_the_dead"] <= 16 + figures["breaker_opened"]
    # Less than the 5 s that the twin has for an answer.
    assert figures["slowest_s"] < 4.5
    assert figures["breaker_opened"] >= 1
    assert any("killed_onnx is back" in line for line in watched)


def test_600_requests_while_the_twin_is_dead(triton, net_of, figures):
    """After some 500 calls its queue would hang for good. Nobody repairs it here."""
    net = net_of("dead")
    with Crowd(triton.server.grpc_url, net.name, 8) as crowd:
        crowd.more(200, "onnx")
        net.signal("onnx", signal.SIGKILL)
        figures["seconds_for_600"] = crowd.more(600, "original", timeout_s=60)
    figures["failed"] = sum(crowd.told.errors.values())
    # What is told of the answers came after what is told of the calls.
    told = crowd.told.served_by["original"]
    counts = until(triton, net.name, lambda all_: all_["ml_inference_total", "original", "ok"] >= told)
    figures["calls_to_the_dead"] = int(counts["ml_inference_failures_total", "onnx", "gone"])
    assert crowd.told.errors == {}
    assert figures["calls_to_the_dead"] < 50
    # Without a breaker each call would wait for Triton to say so again: 600 of 8 clients for 75 s.
    assert figures["seconds_for_600"] < 20 * DEATH_S
    start = time.monotonic()
    triton.control.reload(f"{net.name}_onnx")
    figures["reload_s"] = time.monotonic() - start
    assert figures["reload_s"] < 30


def test_the_twin_takes_ten_times_its_budget_with_500_clients(triton, net_of, figures):
    net = net_of("late", parameters={"deadline_ms": "4000", "primary_budget_ms": "200"})
    (hybrid,) = net.stubs("hybrid")
    with Crowd(triton.server.grpc_url, net.name, 500) as crowd:
        crowd.more(1000, "onnx")
        crowd.told.answer_s.clear()
        before = threads(hybrid)
        net.behave("onnx", sleep_s={"all": 2.0})
        crowd.more(200, "original", timeout_s=30)
        most = before
        end = time.monotonic() + 15
        while time.monotonic() < end:
            most = max(most, threads(hybrid))
            time.sleep(0.05)
        net.behave("onnx")
    figures["answers"] = crowd.told.answered
    figures["failed"] = sum(crowd.told.errors.values())
    figures["slowest_s"] = max(crowd.told.answer_s)
    figures["p99_ms"] = crowd.told.percentile_ms(0.99)
    figures["threads_before"], figures["threads_most"] = before, most
    assert crowd.told.errors == {}
    assert crowd.told.wrong == []
    assert figures["slowest_s"] <= 4.0
    # One more for each call that has not returned: at most twice as many as it may make.
    assert most - before <= 2 * 16


def test_the_twin_is_unloaded_loaded_and_reloaded_under_load(triton, net_of, figures):
    net = net_of("reloaded")
    twin = f"{net.name}_onnx"
    with Crowd(triton.server.grpc_url, net.name, 64) as crowd:
        crowd.more(500, "onnx")
        for _ in range(3):
            triton.control.unload(twin)
            crowd.more(200, "original")
            triton.control.load(twin)
            crowd.more(200, "onnx")
            triton.control.load(twin)
            triton.control.unload(twin)
            triton.control.load(twin)
        crowd.more(500, "onnx")
    figures["answers"] = crowd.told.answered
    figures["failed"] = sum(crowd.told.errors.values())
    figures["slowest_s"] = max(crowd.told.answer_s)
    assert crowd.told.errors == {}
    assert crowd.told.wrong == []


def test_a_broken_new_version_of_the_twin(triton, net_of, watched, figures):
    """The old one goes on, and somebody is called."""
    net = net_of("renewed")
    folder = triton.repository / f"{net.name}_onnx" / "2"
    with Crowd(triton.server.grpc_url, net.name, 16) as crowd:
        crowd.more(300, "onnx")
        folder.mkdir()
        (folder / "model.py").write_text("import no_such_module\n")
        with pytest.raises(LoadFailed, match="no_such_module"):
            triton.control.load(f"{net.name}_onnx")
        crowd.more(300, "onnx")
        start = time.monotonic()
        while not any("ALARM: version 2 of renewed_onnx does not load" in line for line in watched):
            assert time.monotonic() - start < 10
            time.sleep(0.05)
        figures["alarm_after_s"] = time.monotonic() - start
    figures["answers"] = crowd.told.answered
    figures["failed"] = sum(crowd.told.errors.values())
    figures["by_the_original"] = crowd.told.served_by["original"]
    assert crowd.told.errors == {}
    assert figures["by_the_original"] == 0
    assert np.isfinite(crowd.told.percentile_ms(0.5))
