"""What Triton's words about a twin mean, and that a model's own words mean nothing."""

import pytest

from python_backend.hybrid.errors import kind_of

REFUSED = "Failed to process the request(s) for model instance 'm_0_0', message: "


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"{REFUSED}Stub process 'm_0_0' is not healthy.", "gone"),
        ("Stub process 'm_0_0' is not healthy.", "gone"),
        ("Model 'm' is not ready.", "gone"),
        ("Request for unknown model: 'm' is not found", "gone"),
        ("Request for unknown model: 'm' has no available versions", "gone"),
        ("Exceeds maximum queue size", "full"),
        ("the original model failed: KeyError: 'zebra' not found in the vocabulary", "error"),
        ("the original model failed: RuntimeError: the device is not ready\nis not healthy", "error"),
        ("onnx runtime error 2: no version of the operator; not found", "error"),
        ("onnx runtime error: maximum queue size", "error"),
        (f"{REFUSED}KeyError: not found\n\nAt: x", "error"),
        ("unexpected shape", "error"),
    ],
)
def test_only_triton_tells_that_a_twin_is_gone_or_full(text, kind):
    assert kind_of(text) == kind
