"""Whether CUDA would see a GPU here."""

from pathlib import Path

import pytest

from serving import gpu


@pytest.mark.parametrize(
    ("environ", "seen"),
    [
        ({}, True),
        ({"CUDA_VISIBLE_DEVICES": "1"}, True),
        ({"CUDA_VISIBLE_DEVICES": ""}, False),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, False),
    ],
)
def test_a_gpu_is_visible_where_there_is_one_that_nobody_hides(
    tmp_path: Path, environ: dict[str, str], seen: bool
) -> None:
    device = tmp_path / "nvidiactl"
    assert not gpu.visible(environ, device)
    device.touch()
    assert gpu.visible(environ, device) == seen
