"""What the hybrid tells of itself on Triton's own metrics endpoint."""

import re
import signal
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException
from understudy_client import HybridClient

from python_backend.hybrid.tally import EDGES

from .hybrid_net import Net, Shape, series
from .hybrid_net import until as reached


@pytest.fixture
def net(triton):
    made = Net(triton, "measured", Shape(twin_instances=1)).load()
    yield made
    made.close()


def until(triton, expected):
    """Wait until the series say what is expected; gives all of them."""
    return reached(triton, "measured", lambda found: expected.items() <= found.items())


def ask(net, count=1, **options):
    for _ in range(count):
        net.ask(np.ones((1, 2), np.float32), **options)


def test_who_answered_why_and_how_fast(net, triton):
    ask(net, 5)
    ask(net, 2, parameters={"prefer": "original"})
    net.behave("onnx", sleep_s={"1.0": 0.06})
    ask(net, 1)
    found = until(
        triton,
        {
            ("ml_inference_total", "onnx", "ok"): 6,
            ("ml_inference_total", "original", "ok"): 2,
            ("ml_backend_selected", "onnx", "preferred"): 6,
            ("ml_backend_selected", "original", "preferred"): 2,
            ("ml_inference_duration_seconds_count", "onnx"): 6,
            ("ml_inference_duration_seconds_count", "original"): 2,
            ("ml_inference_duration_seconds_bucket", "onnx", "+Inf"): 6,
            ("ml_breaker_state", "onnx"): 0,
            ("ml_breaker_state", "original"): 0,
            ("ml_fallbacks_in_flight",): 0,
            ("ml_late_calls",): 0,
        },
    )
    assert found["ml_inference_duration_seconds_sum", "onnx"] > 0.06
    below = [found["ml_inference_duration_seconds_bucket", "onnx", str(edge)] for edge in EDGES]
    assert below == sorted(below)
    # The one that slept is not among those that took 50 ms at most.
    assert below[EDGES.index(0.05)] < 6
    assert not any("failures" in key[0] or "missed" in key[0] for key in found)
    with HybridClient(triton.server.grpc_url, metrics_url=triton.server.metrics_url) as client:
        answers = client.statistics("measured").answers
    assert (answers.answered, answers.refused, answers.fallbacks) == ({"onnx": 6, "original": 2}, {}, {})
    assert answers.call_ms["onnx"] == pytest.approx(found["ml_inference_duration_seconds_sum", "onnx"] / 6 * 1e3)
    assert answers.success_rate == 1


def test_what_went_wrong_and_what_came_of_it(net, triton):
    ask(net)
    net.behave("onnx", error={"1.0": "out of order"})
    ask(net, 2)
    net.behave("onnx")
    nan = np.full((1, 2), np.nan, np.float32)
    with pytest.raises(InferenceServerException, match="NaN"):
        net.ask(nan)
    net.behave("onnx", sleep_s={"1.0": 4.5})
    ask(net, parameters={"deadline_ms": 8000})
    until(
        triton,
        {
            ("ml_inference_total", "onnx", "ok"): 1,
            ("ml_inference_total", "original", "ok"): 3,
            ("ml_inference_total", "none", "invalid"): 1,
            ("ml_backend_selected", "original", "error"): 2,
            ("ml_backend_selected", "original", "late"): 1,
            ("ml_inference_failures_total", "onnx", "error"): 2,
            ("ml_deadline_missed_total", "onnx"): 1,
        },
    )


def test_the_breaker_is_shown_and_a_reload_begins_anew(net, triton):
    ask(net)
    triton.control.unload("measured_onnx")
    ask(net, 4)
    found = until(
        triton,
        {
            ("ml_breaker_state", "onnx"): 2,
            ("ml_backend_selected", "original", "gone"): 1,
            ("ml_backend_selected", "original", "open"): 3,
        },
    )
    # Once more for each probe, should the four requests take longer than its pause.
    assert found["ml_breaker_opened_total", "onnx"] >= 1
    triton.control.load("measured_onnx")
    triton.control.unload("measured")
    # What a process that is gone has counted is no longer shown.
    end = time.monotonic() + 10
    while series(triton, "measured"):
        assert time.monotonic() < end
        time.sleep(0.1)
    triton.control.load("measured")
    ask(net)
    until(triton, {("ml_inference_total", "onnx", "ok"): 1, ("ml_breaker_state", "onnx"): 0})


def by_process(triton, model, metric):
    """What each process of a hybrid last told of one metric, the first twin's where there is one of each."""
    with urllib.request.urlopen(f"http://{triton.server.metrics_url}/metrics", timeout=5) as page:
        lines = [line for line in page.read().decode().splitlines() if line.startswith(f"{metric}{{")]
    ours = [line for line in lines if f'model="{model}"' in line and 'backend="original"' not in line]
    return {int(re.search(r'process="(\d+)"', line)[1]): float(line.split()[-1]) for line in ours}


def test_a_process_that_is_killed_leaves_its_gauges_and_tells_no_more(triton):
    """Triton shows to its end what such a process told last: rules and panels take no gauge that is as old."""
    net = Net(triton, "killed", Shape(twin_instances=1)).load()
    try:
        ask(net)
        reached(triton, "killed", lambda found: found["ml_breaker_state", "onnx"] == 0)
        [dead] = net.stubs("hybrid")
        net.signal("hybrid", signal.SIGKILL)
        triton.control.reload("killed")
        ask(net)
        [alive] = net.stubs("hybrid")
        reached(triton, "killed", lambda _: alive in by_process(triton, "killed", "ml_told_timestamp_seconds"))
        before = by_process(triton, "killed", "ml_told_timestamp_seconds")
        reached(
            triton,
            "killed",
            lambda _: by_process(triton, "killed", "ml_told_timestamp_seconds")[alive] > before[alive],
        )
        assert by_process(triton, "killed", "ml_told_timestamp_seconds")[dead] == before[dead] < before[alive]
        assert by_process(triton, "killed", "ml_breaker_state").keys() == {dead, alive}
    finally:
        net.close()


def test_reloading_under_load_while_the_endpoint_is_read_ends_nothing(net, triton):
    with ThreadPoolExecutor(4) as pool:
        reading = True

        def read():
            while reading:
                series(triton, "measured")

        readers = [pool.submit(read) for _ in range(2)]
        for _ in range(8):
            triton.control.unload("measured")
            triton.control.load("measured")
            ask(net, 20)
        reading = False
        for reader in readers:
            reader.result(timeout=10)
    assert triton.server.pid
    ask(net)
