import pytest

from python_backend.hybrid.errors import SettingsInvalid
from python_backend.hybrid.preference import Preference, read_preference


@pytest.mark.parametrize("twin", ["onnx", "original"])
def test_one_twin_serves_all_sizes(twin):
    assert read_preference(twin) == Preference((1,), (twin,))
    assert {read_preference(twin).twin(rows) for rows in (1, 2, 1 << 16)} == {twin}


def test_a_range_ends_where_the_next_one_begins():
    preference = read_preference("1:original,3:onnx, 9:original")
    found = [preference.twin(rows) for rows in range(1, 11)]
    assert found == ["original"] * 2 + ["onnx"] * 6 + ["original"] * 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "auto",
        "tensorrt",
        "onnx,original",
        "3:onnx",
        "0:original,3:onnx",
        "1:original,1:onnx",
        "1:original,9:onnx,3:original",
        "1:original,",
        "1:tensorrt",
        "1-8:original,9-:onnx",
        "1:original,9999999999:onnx",
    ],
)
def test_nonsense_is_refused_in_one_sentence(text):
    with pytest.raises(
        SettingsInvalid, match="'prefer' of the hybrid must be one of onnx, original, or ranges of rows"
    ):
        read_preference(text)
