"""A hybrid that asks the original first for small requests and the ONNX twin for large ones, on a real Triton."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from .hybrid_net import Net, Shape, right

# One row or two are the original's, three and more the ONNX twin's.
SIZES = {"original": (1, 2), "onnx": (3, 8)}
PREFERRED = {size: "original" if size < 3 else "onnx" for size in range(1, 9)}


@pytest.fixture
def net(triton):
    # One call at a time goes without waiting, so that the others have company to join.
    parameters = {"prefer": "1:original,3:onnx", "eager_calls": "1"}
    made = Net(triton, "ranged", Shape(seen=True, parameters=parameters)).load()
    yield made
    made.close()


def batch(size, start=1):
    x = np.zeros((size, 4), np.float32)
    x[:, 0] = np.arange(start, start + size)
    return x


def served_by(net, size, **options):
    """Who answered a batch of this size, whose values are checked."""
    x = batch(size)
    answer = net.ask(x, **options)
    assert answer.outputs["y"].tobytes() == right(x).tobytes()
    assert len(answer.served_by) == size
    (twin,) = set(answer.served_by)
    return twin


def test_the_rows_of_a_request_decide_who_answers_and_that_is_no_fallback(net):
    before = len(net.log())
    assert {size: served_by(net, size) for size in PREFERRED} == PREFERRED
    assert {size: served_by(net, size, parameters={"prefer": "auto"}) for size in PREFERRED} == PREFERRED
    for twin in ("onnx", "original"):
        assert {served_by(net, size, parameters={"prefer": twin}) for size in PREFERRED} == {twin}
    assert "answered by" not in net.log()[before:]


def test_requests_share_calls_with_those_of_the_same_twin_alone(net):
    for twin in SIZES:
        net.behave(twin, sleep_s={"all": 0.01})

    def ask(number):
        size = number % 4 + 1
        x = batch(size, 10 * number)
        answer = net.ask(x)
        assert answer.outputs["y"].tobytes() == right(x).tobytes()
        assert answer.served_by == [PREFERRED[size]] * size
        return PREFERRED[size], answer.seen["rows"] > size

    with ThreadPoolExecutor(24) as pool:
        found = set(pool.map(ask, range(240)))
    assert found >= {("original", True), ("onnx", True)}, "requests for either twin have shared calls"


@pytest.mark.parametrize(("twin", "other"), [("original", "onnx"), ("onnx", "original")])
def test_where_the_preferred_twin_is_killed_the_other_answers(net, triton, twin, other):
    assert {served_by(net, size) for size in SIZES[twin]} == {twin}
    before = len(net.log())
    net.signal(twin, signal.SIGKILL)
    for _ in range(3):
        assert {served_by(net, size) for size in (*SIZES[twin], *SIZES[other])} == {other}
    assert f"answered by {other}" in net.log()[before:]
    # What repairs a dead stub in this release; the twin is asked again once its pause is over.
    triton.control.reload(f"{net.name}_{twin}")
    end = time.monotonic() + 70
    while served_by(net, SIZES[twin][0]) != twin:
        assert time.monotonic() < end
        time.sleep(0.1)
