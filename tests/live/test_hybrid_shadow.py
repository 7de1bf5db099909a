"""The twins compared in service, on a real Triton: every answer, and what follows where they differ."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from conversion.release.golden import read_golden

from .hybrid_net import Net, Shape, series, until

MODEL = "shadowed"


@pytest.fixture
def net(triton, tmp_path):
    """A hybrid that compares every answer, by the tolerance that lies in its release."""
    shadow = {"shadow_share": "1", "shadow_folder": str(tmp_path / "kept"), "shadow_keep": "3"}
    made = Net(triton, MODEL, Shape(parameters=shadow))
    evidence = triton.repository / MODEL / "1" / "evidence.json"
    evidence.write_text(json.dumps({"parity": {"atol": 0.01, "rtol": 0.0}}))
    yield made.load()
    made.close()


def compared(triton, count):
    """The results, when so many answers have been sampled."""
    found = until(triton, MODEL, lambda all_: sum(results(all_).values()) >= count)
    return results(found), found


def results(found):
    return {key[1]: value for key, value in found.items() if key[0] == "ml_shadow_total"}


def test_what_callers_send_and_get_is_what_is_compared(net, triton):
    """Though their requests are answered, and Triton's memory is in use by others, before the comparison begins."""
    net.behave("original", sleep_s={"all": 0.01})

    def ask(seed):
        x = np.random.default_rng(seed).random((1 + seed % 3, 5000), np.float32)
        answer = net.ask(x)
        np.testing.assert_allclose(answer.outputs["y"], 2 * x + 1)
        assert set(answer.served_by) == {"onnx"}

    asked = 0
    end = time.monotonic() + 30
    with ThreadPoolExecutor(8) as pool:
        while not asked or results(series(triton, MODEL)).get("agreed", 0) < 5:
            assert time.monotonic() < end
            list(pool.map(ask, range(asked, asked + 200)))
            asked += 200
    counts, found = compared(triton, asked)
    assert counts.keys() <= {"agreed", "dropped"}
    assert found["ml_shadow_worst", "y"] < 0.01
    assert found["ml_twin_quarantined", "onnx"] == 0


def test_a_twin_that_differs_too_often_is_asked_no_more_until_it_is_loaded_anew(net, triton, tmp_path):
    net.behave("onnx", offset=0.5)
    x = np.array([[3.0, 4.0]], np.float32)
    end = time.monotonic() + 30
    while net.ask(x).served_by == ["onnx"]:
        assert time.monotonic() < end
        time.sleep(0.02)
    found = until(triton, MODEL, lambda all_: all_["ml_twin_quarantined", "onnx"] == 1)
    counts = results(found)
    assert counts.keys() <= {"differed", "dropped"}
    assert 20 <= counts["differed"] <= 22, "as soon as they say anything; two may have waited"
    assert found["ml_shadow_worst", "y"] == pytest.approx(50, rel=1e-3)
    answer = net.ask(x)
    assert (answer.served_by, answer.outputs["y"].tolist()) == (["original"], [[7, 9]])
    until(triton, MODEL, lambda all_: all_["ml_backend_selected", "original", "quarantined"] == 2)

    kept = sorted(each.name for each in (tmp_path / "kept").iterdir())
    assert kept == ["differing-0.npz", "differing-1.npz", "differing-2.npz"]
    case = read_golden(tmp_path / "kept" / "differing-0.npz")
    assert (case.inputs["x"].tolist(), case.expected["y"].tolist()) == ([[3, 4]], [[7, 9]])

    net.behave("onnx")
    triton.control.reload(MODEL)
    assert net.ask(x).served_by == ["onnx"]


def test_who_may_differ_is_only_told_of(triton, tmp_path):
    parameters = {"shadow_share": "1", "shadow_quarantine": "false", "shadow_keep": "0"}
    net = Net(triton, MODEL, Shape(parameters=parameters))
    evidence = triton.repository / MODEL / "1" / "evidence.json"
    evidence.write_text(json.dumps({"parity": {"atol": 0.01, "rtol": 0.0}}))
    net.load()
    net.behave("onnx", offset=0.5)
    end = time.monotonic() + 30
    while results(series(triton, MODEL)).get("differed", 0) <= 20:
        assert time.monotonic() < end
        assert net.ask(np.ones((1, 2), np.float32)).served_by == ["onnx"]
        time.sleep(0.02)
    # Whoever is to be asked no more would be by now.
    for _ in range(20):
        assert net.ask(np.ones((1, 2), np.float32)).served_by == ["onnx"]
    assert series(triton, MODEL)["ml_twin_quarantined", "onnx"] == 0
    net.close()
