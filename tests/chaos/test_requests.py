"""Requests that are bad, or odd: each gets what is due to it, and costs nobody else anything."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.live.hybrid_net import until

PATIENT = {"eager_calls": "1", "max_joined_rows": "64"}


def test_one_row_of_64_comes_out_nan(triton, net_of, figures):
    net = net_of("one_nan", max_batch_size=64, batching=False, parameters=PATIENT)
    rows = [np.array([[value, value + 0.5]], np.float32) for value in range(64)]
    # All 64 wait while this one is under way, and then share a call.
    slow = np.array([[99.0, 0.0]], np.float32)

    def asked_together():
        with ThreadPoolExecutor(65) as pool:
            ahead = pool.submit(net.ask, slow)
            until(triton, net.name, lambda all_: all_["ml_pending_requests",] == 1)
            answers = list(pool.map(net.ask, rows))
            ahead.result()
        return answers

    net.behave("onnx", sleep_s={"99.0": 3.0})
    before = asked_together()
    calls = until(triton, net.name, lambda all_: all_["ml_inference_total", "onnx", "ok"] == 65)
    net.behave("onnx", sleep_s={"99.0": 3.0}, nan=["17.0"])
    after = asked_together()
    found = until(triton, net.name, lambda all_: all_["ml_inference_total", "original", "ok"] == 1)
    figures["fell_back"] = sum(answer.served_by == ["original"] for answer in after)
    same = [a.outputs["y"].tobytes() == b.outputs["y"].tobytes() for a, b in zip(before, after, strict=True)]
    figures["identical"] = sum(same)
    figures["rows_not_finite"] = int(found["ml_inference_failures_total", "onnx", "rows"])
    shared = "ml_inference_duration_seconds_count", "onnx"
    figures["calls_for_65_requests"] = int(found[shared] - calls[shared])
    assert all(same)
    assert [answer.served_by for answer in after] == [["original" if value == 17 else "onnx"] for value in range(64)]
    assert figures["calls_for_65_requests"] <= 4
    assert found["ml_breaker_state", "onnx"] == 0


def test_nan_in_the_input(triton, net_of, figures):
    net = net_of("nan_input")
    bad = np.array([[1.0, np.nan]], np.float32)
    for _ in range(100):
        with pytest.raises(InferenceServerException, match=r"input 'x' holds NaN or infinity at \[0, 1\]") as caught:
            net.ask(bad)
        assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert net.ask(np.ones((1, 2), np.float32)).served_by == ["onnx"]
    found = until(triton, net.name, lambda all_: all_["ml_inference_total", "none", "invalid"] == 100)
    figures["refused"] = 100
    figures["breaker_state"] = int(found["ml_breaker_state", "onnx"])
    figures["calls_to_the_twin"] = int(found["ml_inference_duration_seconds_count", "onnx"])
    assert (figures["breaker_state"], figures["calls_to_the_twin"]) == (0, 1)


def directly(triton, model, x):
    """What the twin says when it is asked itself."""
    with InferenceServerClient(triton.server.grpc_url) as client:
        tensor = InferInput("x", list(x.shape), np_to_triton_dtype(x.dtype)).set_data_from_numpy(x)
        return client.infer(model, [tensor]).as_numpy("y")


def odd_batches(random):
    """Mixed shapes, one row to the maximum, values in any order of memory."""
    for _ in range(60):
        shape = int(random.integers(1, 9)), int(random.choice([1, 3, 5, 64]))
        x = random.standard_normal(shape).astype(np.float32)
        yield x if random.random() < 0.5 else np.asfortranarray(x)


@pytest.mark.parametrize("strided", [False, True], ids=["as they come", "outputs strided"])
def test_mixed_shapes_at_once_answer_as_direct_calls_do(triton, net_of, figures, strided):
    net = net_of("mixed")
    net.behave("onnx", strided=strided)
    batches = list(odd_batches(np.random.default_rng(0)))
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(net.ask, batches))
    wrong = 0
    for x, answer in zip(batches, answers, strict=True):
        wrong += answer.outputs["y"].tobytes() != directly(triton, f"{net.name}_onnx", x).tobytes()
        assert answer.served_by == ["onnx"] * len(x)
    figures["requests"], figures["wrong"] = len(batches), wrong
    assert wrong == 0


def test_strings_and_batches_at_and_beyond_the_limits(triton, net_of, figures):
    net = net_of("strings", dtype="STRING")
    x = np.array([[f"row {row} column {column}".encode() for column in range(3)] for row in range(8)], object)
    answer = net.ask(x)
    figures["rows_at_the_maximum"] = len(answer.outputs["y"])
    assert answer.outputs["y"].tolist() == directly(triton, f"{net.name}_onnx", x).tolist()
    for rows, message in ((9, "batch-size must be <= 8"), (0, "expected 3 string elements")):
        with pytest.raises(InferenceServerException, match=message) as caught:
            net.ask(np.full((rows, 3), b"x", object))
        assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert net.ask(x).served_by == ["onnx"] * 8
