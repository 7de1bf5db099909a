"""What the hybrid tells of its release on disk: its own damage, its twins', and pins that leave it alone."""

import pytest

from python_backend.hybrid.errors import ReleaseRefused
from python_backend.hybrid.integrity import write_sums
from python_backend.hybrid.release import damaged_twins, require_release, require_twins

MODELS = {"onnx": "net_onnx", "original": "net_original"}


def pin(root, model, *versions):
    listed = "".join(f"    versions: {version}\n" for version in versions)
    text = f'name: "{model}"\nversion_policy {{\n  specific {{\n{listed}  }}\n}}\n'
    (root / model / "config.pbtxt").write_text(text)


@pytest.fixture
def root(tmp_path):
    """A repository with releases 1 and 2 of all three models, 2 pinned."""
    for model in ("net", *MODELS.values()):
        for version in ("1", "2"):
            directory = tmp_path / model / version
            directory.mkdir(parents=True)
            (directory / "config.pbtxt").write_text(f'name: "{model}"\n')
            (directory / "file").write_text(version)
            write_sums(directory)
        pin(tmp_path, model, 2)
    return tmp_path


def test_an_intact_release_with_its_twins_is_taken(root):
    require_release(root / "net" / "2")
    require_twins(root / "net" / "2", MODELS)
    assert damaged_twins(root / "net" / "2", MODELS) == {}


def test_its_own_damage_is_refused(root):
    (root / "net" / "2" / "file").write_text("other")
    with pytest.raises(ReleaseRefused, match="net/2 is not what was published: file: expected SHA-256"):
        require_release(root / "net" / "2")


def test_a_pin_that_no_twin_shares_is_refused(root):
    pin(root, "net", 1)
    with pytest.raises(
        ReleaseRefused, match=r"pins release 1, but net_onnx pins 2, net_original pins 2: it would have"
    ):
        require_twins(root / "net" / "1", MODELS)


@pytest.mark.parametrize("pinned", [(1, 2), (2, 1), (2,)])
def test_a_release_that_one_twin_pins_too_is_taken(root, pinned):
    pin(root, "net_onnx", 1)
    pin(root, "net_original", *pinned)
    require_twins(root / "net" / "2", MODELS)


@pytest.mark.parametrize("text", ["", 'name: "net_onnx"\n', None])
def test_twins_that_pin_nothing_or_lie_elsewhere_say_nothing(root, text):
    for model in MODELS.values():
        path = root / model / "config.pbtxt"
        path.unlink()
        if text is not None:
            path.write_text(text)
    require_twins(root / "net" / "2", MODELS)


def test_the_files_and_the_configuration_of_the_onnx_twin_are_looked_at(root):
    (root / "net_original" / "2" / "file").write_text("refuses by itself")
    assert damaged_twins(root / "net" / "2", MODELS) == {}
    (root / "net_onnx" / "1" / "file").write_text("not asked by this release")
    assert damaged_twins(root / "net" / "2", MODELS) == {}
    (root / "net_onnx" / "2" / "file").write_text("other")
    assert "net_onnx/2 is not what was published: file: " in damaged_twins(root / "net" / "2", MODELS)["onnx"]


def test_an_edited_configuration_of_the_onnx_twin_is_damage_too(root):
    path = root / "net_onnx" / "config.pbtxt"
    path.write_text(path.read_text().replace("net_onnx", "net_0nnx"))
    assert "../config.pbtxt: is not the configuration of release 2" in damaged_twins(root / "net" / "2", MODELS)["onnx"]


def test_twins_that_nobody_published_are_not_looked_at(tmp_path):
    (tmp_path / "net" / "1").mkdir(parents=True)
    require_release(tmp_path / "net" / "1")
    require_twins(tmp_path / "net" / "1", MODELS)
    assert damaged_twins(tmp_path / "net" / "1", MODELS) == {}
