"""Counting, and telling the counts on; what Triton makes of them is seen in tests/live."""

import os
import threading
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from python_backend.hybrid import exporter
from python_backend.hybrid.exporter import Exporter
from python_backend.hybrid.tally import EDGES, FAMILIES, Tally


@given(st.lists(st.floats(0, 60), max_size=40), st.integers(0, 40))
def test_buckets_hold_all_that_is_below_their_edge_and_nothing_is_lost_between_drains(seconds, cut):
    tally = Tally()
    found = {edge: 0 for edge in (*EDGES, "+Inf")}
    total = count = 0.0
    for part in (seconds[:cut], seconds[cut:]):
        for each in part:
            tally.took("onnx", each)
        drained = tally.drain()
        for edge in found:
            found[edge] += drained.get(("ml_inference_duration_seconds_bucket", "onnx", str(edge)), 0)
        total += drained.get(("ml_inference_duration_seconds_sum", "onnx"), 0)
        count += drained.get(("ml_inference_duration_seconds_count", "onnx"), 0)
    assert found == {**{edge: sum(each <= edge for each in seconds) for edge in EDGES}, "+Inf": len(seconds)}
    assert count == len(seconds)
    assert total == pytest.approx(sum(seconds))
    assert tally.drain() == {}


def test_many_threads_count_together():
    tally = Tally()

    def work():
        for _ in range(500):
            tally.add("ml_inference_total", "onnx", "ok")
            tally.took("onnx", 0.001)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drained = tally.drain()
    assert drained["ml_inference_total", "onnx", "ok"] == 4000
    assert drained["ml_inference_duration_seconds_count", "onnx"] == 4000


@dataclass
class Server:
    """What a metrics endpoint would show, by metric and labels."""

    shown: dict = field(default_factory=dict)
    made: list = field(default_factory=list)
    broken: bool = False
    attempts: int = 0

    def family(self, name, help_, grows):
        self.made.append((name, grows))
        server = self

        class Metric:
            def __init__(self, labels):
                self.key = (name, *sorted(labels.items()))
                assert self.key not in server.shown, "two series of the same labels crash Triton"
                server.shown[self.key] = 0.0

            def increment(self, amount):
                server.attempts += 1
                if server.broken:
                    raise RuntimeError("no")
                assert grows
                server.shown[self.key] += amount

            def set(self, value):
                assert not grows
                server.shown[self.key] = value

        return type("Family", (), {"Metric": staticmethod(Metric)})()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(exporter, "INTERVAL_S", 0.01)


def test_all_is_told_with_the_model_and_the_process(quick):
    server, tally, warnings = Server(), Tally(), []
    state = [2.0]
    telling = Exporter("net", tally, lambda: {("ml_breaker_state", "onnx"): state[0]}, server.family, warnings.append)
    telling.start()
    for _ in range(5):
        tally.add("ml_inference_total", "onnx", "ok")
    tally.add("ml_inference_total", "none", "invalid", amount=3)
    state[0] = 1.0
    before = time.time()
    telling.stop()
    same = [("model", "net"), ("process", str(os.getpid()))]
    told = server.shown.pop(("ml_told_timestamp_seconds", *same))
    assert before <= told <= time.time()
    assert server.shown == {
        ("ml_inference_total", ("backend", "onnx"), *same, ("status", "ok")): 5,
        ("ml_inference_total", ("backend", "none"), *same, ("status", "invalid")): 3,
        ("ml_breaker_state", ("backend", "onnx"), *same): 1,
    }
    assert sorted(server.made) == [
        ("ml_breaker_state", False),
        ("ml_inference_total", True),
        ("ml_told_timestamp_seconds", False),
    ]
    assert warnings == []


def test_when_it_was_told_changes_each_time_so_that_a_dead_process_shows(quick):
    server = Server()
    telling = Exporter("net", Tally(), dict, server.family, lambda text: None)
    telling.start()
    seen = set()
    end = time.monotonic() + 10
    while len(seen) < 3:
        assert time.monotonic() < end
        seen |= set(server.shown.values()) - {0.0}
        time.sleep(0.005)
    telling.stop()


def test_what_goes_wrong_is_said_once_and_ends_nothing(quick):
    server, tally, warnings = Server(broken=True), Tally(), []
    telling = Exporter("net", tally, dict, server.family, warnings.append)
    telling.start()
    for attempt in range(1, 6):
        tally.add("ml_inference_total", "onnx", "ok")
        end = time.monotonic() + 10
        while server.attempts < attempt:
            assert time.monotonic() < end
            time.sleep(0.005)
    server.broken = False
    tally.add("ml_inference_total", "onnx", "ok")
    telling.stop()
    assert warnings == ["metrics cannot be told: RuntimeError: no"]
    assert [value for key, value in server.shown.items() if key[0] == "ml_inference_total"] == [1]


def test_every_metric_says_what_it_tells():
    for name, family in FAMILIES.items():
        assert name.startswith("ml_")
        assert len(family.help) > 20
        assert family.grows == (name.rpartition("_")[2] in ("total", "bucket", "sum", "count", "selected"))
