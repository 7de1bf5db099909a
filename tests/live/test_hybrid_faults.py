"""A twin dies, hangs, or goes away under load: every request is answered, and answered rightly."""

import contextlib
import os
import signal
import time
import urllib.request

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from .hybrid_net import Load, Net, Shape, series, until

CLIENTS = 64


def small(random):
    return random.standard_normal((int(random.integers(1, 4)), 5)).astype(np.float32)


def made(triton, batching, name):
    return Net(triton, f"{name}_{'batched' if batching else 'single'}", Shape(batching=batching)).load()


@pytest.fixture
def net(triton):
    """One that a test may break. Whether rows are batched has nothing to do with what a process does when it dies."""
    fresh = made(triton, True, "faulty")
    yield fresh
    fresh.close()


@pytest.fixture(scope="module", params=[True, False], ids=["batched", "one by one"])
def whole_net(triton, request):
    lasting = made(triton, request.param, "whole")
    yield lasting
    lasting.close()


@pytest.fixture
def whole(whole_net):
    """One that a test leaves as it was: both twins and the hybrid loaded, and none of their processes dead."""
    yield whole_net
    whole_net.settle()


def kill_and_reload(net, triton, load, meanwhile):
    """Every process of the ONNX twin dies; when so many answers came from the original, what repairs it is done."""
    load.more(200, "onnx")
    net.signal("onnx", signal.SIGKILL)
    load.more(meanwhile, "original", timeout_s=60)
    # What repairs a dead stub in this release.
    triton.control.reload(f"{net.name}_onnx")
    load.more(200, "onnx", timeout_s=70)


@pytest.mark.parametrize("twin", ["onnx", "original"])
def test_a_twin_is_unloaded_and_loaded_under_load(whole, triton, twin):
    other = {"onnx": "original", "original": "onnx"}[twin]
    with Load(whole, CLIENTS, small) as load:
        load.more(200, "onnx")
        triton.control.unload(f"{whole.name}_{twin}")
        load.more(200, other)
        triton.control.load(f"{whole.name}_{twin}")
        load.more(200, "onnx", timeout_s=10)
    assert load.failures == []


def test_every_process_of_the_twin_is_killed_under_load(net, triton):
    def told():
        return sum("answered by original" in line for line in net.log().splitlines())

    before = told()
    with Load(net, CLIENTS, small) as load:
        kill_and_reload(net, triton, load, 500)
    assert load.failures == []
    assert load.slowest_s < 8
    # The log says so, and not once for each of hundreds of requests.
    assert 0 < told() - before < 50


def test_two_processes_of_the_hybrid_share_the_callers_and_both_learn_that_the_twin_is_gone(triton):
    net = Net(triton, "shared", Shape(hybrid_instances=2)).load()
    try:
        with Load(net, CLIENTS, small) as load:
            kill_and_reload(net, triton, load, 300)
        assert load.failures == []

        def counted(seen):
            return sum(seen["ml_inference_total", twin, "ok"] for twin in ("onnx", "original"))

        # A page may be read while a process tells: one count of it is new then, and another one old.
        told = until(triton, net.name, lambda seen: counted(seen) >= load.served_by.total())
        assert counted(told) == load.served_by.total()
        with urllib.request.urlopen(f"http://{triton.server.metrics_url}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
        opened = [line for line in lines if "ml_breaker_opened_total" in line and 'model="shared"' in line]
        assert {int(line.split('process="')[1].split('"')[0]) for line in opened} == set(net.stubs("hybrid"))
        assert len(opened) == 2
    finally:
        net.close()


def test_one_of_two_processes_is_killed_under_load(net, triton):
    with Load(net, CLIENTS, small) as load:
        load.more(200, "onnx")
        os.kill(net.stubs("onnx")[0], signal.SIGKILL)
        load.more(2000, timeout_s=60)
    assert load.failures == []
    assert load.served_by["onnx"] > 200


def test_a_twin_that_hangs_is_left_alone_and_asked_again_once_it_moves(triton):
    net = Net(triton, "hanging", Shape(parameters={"deadline_ms": "8000", "primary_budget_ms": "1000"})).load()
    try:
        with Load(net, CLIENTS, small) as load:
            load.more(200, "onnx")
            net.behave("onnx", sleep_s={"all": 5.0})
            load.more(500, "original", timeout_s=60)
            net.behave("onnx")
            load.more(200, "onnx", timeout_s=90)
        assert load.failures == []
        assert load.slowest_s < 8
    finally:
        net.close()


def test_a_twin_that_hung_for_good_is_asked_again_once_another_process_is_in_its_place(triton):
    """The calls that hang keep half of the hybrid's threads, and it never gets them back."""
    parameters = {"deadline_ms": "8000", "primary_budget_ms": "500", "max_concurrency": "4"}
    net = Net(triton, "hung", Shape(parameters=parameters)).load()
    hung = net.stubs("onnx")
    try:
        with Load(net, 8, small, pause_s=0.2) as load:
            load.more(20, "onnx")
            net.behave("onnx", sleep_s={"all": 3600.0})
            load.more(20, "original")
            until(triton, net.name, lambda found: found["ml_late_calls",] >= 2)
            net.behave("onnx")
            triton.control.reload(f"{net.name}_onnx")
            # A copy of a request that hangs like the others keeps the next one back for a minute.
            load.more(20, "onnx", timeout_s=100)
            assert series(triton, net.name)["ml_late_calls",] >= 2
            load.more(20, "onnx")
        assert load.failures == []
    finally:
        for pid in hung:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        net.close()


def test_when_both_are_gone_the_answer_is_unavailable_and_names_both(net, triton):
    for twin in ("onnx", "original"):
        triton.control.unload(f"{net.name}_{twin}")
    start = time.monotonic()
    with pytest.raises(InferenceServerException) as caught:
        net.ask(np.ones((1, 2), np.float32))
    # A twin that is asked, and not found gone at once, has 5 s.
    assert time.monotonic() - start < 4.5
    assert caught.value.status() == "StatusCode.UNAVAILABLE"
    assert f"{net.name}_onnx" in caught.value.message()
    assert f"{net.name}_original" in caught.value.message()
    for twin in ("onnx", "original"):
        triton.control.load(f"{net.name}_{twin}")


def test_the_hybrid_itself_is_unloaded_under_load(whole, triton):
    """What was accepted is answered; what comes later is told that there is no such model."""
    with Load(whole, CLIENTS, small) as load:
        load.more(200, "onnx")
        triton.control.unload(whole.name)
        load.until(lambda seen: len(seen.failures) > 50)
        triton.control.load(whole.name)
        load.more(200, "onnx")
    unknown = [
        text for text in load.failures if "is not ready" in text or "unknown model" in text or "no available" in text
    ]
    assert load.failures == unknown
