import multiprocessing
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from understudy_client import FakeModel, FakeTransport


@pytest.fixture
def doubling() -> Callable[..., FakeModel]:
    """Build a model y = 2x over rows of two FP32; a hybrid where `served_by` is given."""

    def build(name: str = "m", **changes: object) -> FakeModel:
        settings: dict[str, object] = {
            "inputs": {"x": ("FP32", [-1, 2])},
            "outputs": {"y": ("FP32", [-1, 2])},
            "answer": lambda inputs: {"y": inputs["x"] * np.float32(2)},
            "max_batch_size": 4,
        }
        return FakeModel(name, **{**settings, **changes})  # type: ignore[arg-type]

    return build


@pytest.fixture
def fake(doubling: Callable[..., FakeModel]) -> FakeTransport:
    """Serve a hybrid `m` with its twins, and `plain`, which stands alone."""
    twins = [doubling("m_onnx"), doubling("m_original")]
    return FakeTransport(doubling("m", served_by="onnx"), *twins, doubling("plain"))


@pytest.fixture
def in_child() -> Callable[[Callable[[], Any]], Any]:
    """Run work in a forked process, as multiprocessing does it by default, and return what it returns there."""
    fork = multiprocessing.get_context("fork")

    def run(work: Callable[[], Any]) -> Any:
        here, there = fork.Pipe(duplex=False)
        child = fork.Process(target=lambda: there.send(work()))
        child.start()
        there.close()
        try:
            assert here.poll(20), "the child says nothing"
            return here.recv()
        finally:
            here.close()
            child.kill()
            child.join()

    return run
