from collections.abc import Callable

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
