"""`bench` where this machine's ONNX Runtime has no provider for a GPU."""

import pytest

from conversion.bench import measure
from conversion.errors import ProviderMissing


def test_the_gpu_profile_ends_before_anything_is_loaded_where_its_provider_is_missing(spec, tmp_path):
    with pytest.raises(ProviderMissing, match="on CPUExecutionProvider instead of CUDAExecutionProvider"):
        measure(spec, tmp_path, print, original=tmp_path / "none", twin=tmp_path / "none", sizes=(1,), profile="gpu")
