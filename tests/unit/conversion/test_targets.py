import re
from itertools import pairwise
from pathlib import Path

import pytest

from conversion.errors import TargetUnknown
from conversion.spec import ModelSpec
from conversion.targets import TARGETS, known_targets, require_targets

# What NVIDIA's images hold, as release notes and build.py of each release have it; from-to means every month between.
IMAGES = """
24.06-24.06 1.18.0, 24.07-24.07 1.18.1, 24.08-24.08 1.19.0, 24.09-24.11 1.19.2, 24.12-25.02 1.20.1, 25.03-25.04 1.21.0,
25.05-25.07 1.22.0, 25.08-25.09 1.23.0, 25.10-25.10 1.23.1, 25.11-26.01 1.23.2, 26.02-26.02 1.24.1, 26.03-26.03 1.24.2,
26.04-26.06 1.24.4, 26.07-26.07 1.27.0, 26.08-26.08 1.28.0
"""


def months(first, last):
    year, month = map(int, first.split("."))
    while (release := f"{year}.{month:02}") <= last:
        yield release
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)


def test_every_release_has_the_onnx_runtime_of_its_image():
    expected = {
        release: version
        for first, last, version in re.findall(r"([\d.]+)-([\d.]+) ([\d.]+)", IMAGES)
        for release in months(first, last)
    }
    assert {release: target.runtime.version for release, target in TARGETS.items()} == expected


def test_no_release_is_left_out():
    assert list(TARGETS) == list(months("24.06", "26.08"))


def test_what_one_release_reads_every_later_one_reads():
    read = [(t.runtime.opset, t.runtime.ml_opset, t.runtime.ir) for t in TARGETS.values()]
    for older, newer in pairwise(read):
        assert all(a <= b for a, b in zip(older, newer, strict=True))


def test_a_target_says_which_onnx_runtime_it_has():
    assert str(TARGETS["26.08"]) == "Triton 26.08 (ONNX Runtime 1.28.0)"


def test_the_image_for_production_and_the_default_are_known():
    image = re.search(r"tritonserver:([\d.]+)-py3", Path("deploy/Dockerfile").read_text())
    assert image is not None
    assert TARGETS[image.group(1)].python == "3.12"
    assert TARGETS[ModelSpec.target].release == "24.10"


@pytest.mark.parametrize(
    ("found", "near"),
    [
        ("24.1", "24.10"),
        ("24.01", "24.06"),
        ("26.09", "26.08"),
        ("25.9", "25.09"),
        ("25.13", "26.01"),
        ("24.11-py3", "24.11"),
        ("24.10.1", "24.10"),
    ],
)
def test_an_unknown_release_is_told_the_nearest(found, near):
    assert known_targets(found) == (
        f"a Triton release from 24.06, the first that can run the hybrid, to 26.08, perhaps '{near}'"
    )


@pytest.mark.parametrize("found", ["", "latest", "2.51.0"])
def test_what_is_no_release_gets_no_guess(found):
    assert known_targets(found).endswith("to 26.08")


def test_the_command_line_is_held_to_the_table():
    require_targets(["24.10", "26.08"])
    with pytest.raises(TargetUnknown, match=r"--target must be a Triton release .* perhaps '24\.06', found '23\.10'"):
        require_targets(["24.10", "23.10"])


def test_the_docs_tell_the_opset_of_each_release():
    last = {target.runtime.opset: release for release, target in TARGETS.items()}
    first = next(r for r, t in TARGETS.items() if t.runtime.opset == max(last))
    told = ", ".join(f"{opset} up to {release}" for opset, release in list(last.items())[:-1])
    sentence = f"{told}, {max(last)} from {first} on".replace("up to ", "up to Triton ", 1)
    assert sentence in Path("docs/model-toml.md").read_text()
