"""What `bench` prints of where the twin ran."""

import pytest

from conversion.measuring.bench_table import table


def entry(**more):
    return {
        "release": 3,
        "twin": "tf2onnx",
        "batches": {},
        "original_rss_mb": 900.0,
        "twin_rss_mb": 100.0,
        "metric": None,
        "precision": "",
        **more,
    }


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"provider": "CPUExecutionProvider", "nodes": {}}, "tf2onnx on CPUExecutionProvider; memory"),
        (
            {"provider": "CUDAExecutionProvider", "nodes": {"CUDAExecutionProvider": 40, "CPUExecutionProvider": 2}},
            "on CUDAExecutionProvider (40 nodes on CUDAExecutionProvider, 2 nodes on CPUExecutionProvider); memory",
        ),
        (
            {"provider": "TensorrtExecutionProvider", "precision": "fp16", "nodes": {"TensorrtExecutionProvider": 40}},
            "on TensorrtExecutionProvider in fp16 (40 nodes on TensorrtExecutionProvider); memory",
        ),
    ],
)
def test_the_provider_in_use_is_shown_with_what_others_took(more, told):
    assert told in table({"net": entry(**more)})
