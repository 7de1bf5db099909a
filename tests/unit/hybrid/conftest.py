"""A hybrid without Triton: settings, batches, and twins that do as they are told."""

import threading

import numpy as np
import pytest

from python_backend.hybrid.batch import Answer, Batch
from python_backend.hybrid.errors import TwinFailed
from python_backend.hybrid.preference import Preference
from python_backend.hybrid.settings import OutputSpec, Settings, ShadowSettings, Wishes


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Twins:
    """Both twins double their input; `faults` gives one of them something else to do."""

    def __init__(self):
        self.faults = {}
        self.calls = []
        self.lock = threading.Lock()

    def __call__(self, twin, batch):
        x = batch.inputs()["x"]
        with self.lock:
            self.calls.append((twin, x[:, 0].tolist()))
        fault = self.faults.get(twin)
        outputs = {"y": (x * 2).astype(np.float32)}
        if fault is not None:
            outputs = fault(batch, outputs)
        return Answer(outputs, twin)


def down(batch, outputs):
    raise TwinFailed("twin", "model is not ready", "gone")


def full(batch, outputs):
    raise TwinFailed("twin", "exceeds maximum queue size", "full")


def refuses(batch, outputs):
    raise TwinFailed("twin", "cannot compute this")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def twins():
    return Twins()


@pytest.fixture
def settings():
    return Settings(
        models={"onnx": "net_onnx", "original": "net_original"},
        prefer=Preference((1,), ("onnx",)),
        fallback_enabled=True,
        deadline_s=10.0,
        primary_budget_s=5.0,
        max_concurrency=4,
        max_fallbacks=2,
        max_joined_rows=8,
        eager_calls=2,
        max_pending=8,
        max_pending_bytes=1000,
        shadow=ShadowSettings(0.0, 0.1, True, 0, ""),
        batched=True,
        guarded_inputs=frozenset({"x"}),
        outputs={"y": OutputSpec(np.dtype(np.float32), (2,), True)},
    )


def batch_of(*values, prefer="onnx", deadline_s=10.0, primary_budget_s=5.0):
    """A request whose rows start with `values`."""
    x = np.array([[value, 1.0] for value in values], np.float32)
    wishes = Wishes(prefer, deadline_s, primary_budget_s)
    return Batch(len(values), frozenset({"y"}), wishes, lambda: {"x": x}, request=values)
