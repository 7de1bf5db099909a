"""`bench` and a search where this machine's ONNX Runtime has no provider for a GPU."""

from dataclasses import replace

import pytest

from conversion.errors import ProviderMissing
from conversion.measuring.bench import measure
from conversion.proof.subject import load_subject
from conversion.spec import SearchSpec


def test_the_gpu_profile_ends_before_anything_is_loaded_where_its_provider_is_missing(spec, tmp_path):
    with pytest.raises(ProviderMissing, match="on CPUExecutionProvider instead of CUDAExecutionProvider"):
        measure(spec, tmp_path, print, original=tmp_path / "none", twin=tmp_path / "none", sizes=(1,), profile="gpu")


def test_nor_is_anything_loaded_for_a_search_on_a_gpu(spec, tmp_path):
    with pytest.raises(ProviderMissing, match="on CPUExecutionProvider instead of CUDAExecutionProvider"):
        load_subject(replace(spec, search=SearchSpec(profile="gpu")), tmp_path)
    assert list(tmp_path.iterdir()) == []
