"""Publishing, rolling back and repairing where files on disk are no longer what was published."""

import pytest

from conversion.errors import PublishError, ReleaseBroken, ReleaseQuarantined
from conversion.release.pbtxt import ROLES
from python_backend.integrity import pins

from ..released import flip, release, released
from ..server import Server, live


@pytest.fixture
def repository(tmp_path, spec, affine):
    """A repository with releases 1 and 2 of 'net', 2 served."""
    made = released(tmp_path / "repository", spec, affine, releases=2)
    with made.locked():
        yield made


def pinned(repository):
    return {role: pins(repository.root / f"net{suffix}" / "config.pbtxt") for role, suffix in ROLES.items()}


def roots(repository):
    return {suffix: (repository.root / f"net{suffix}" / "config.pbtxt").read_bytes() for suffix in ROLES.values()}


@pytest.mark.parametrize("file", ["net/1/model.py", "net_onnx/1/model.onnx", "net_original/1/config.pbtxt"])
def test_a_damaged_release_is_not_rolled_back_to(repository, file):
    before = roots(repository)
    flip(repository.root / file)
    told = rf"release 1 of net is damaged and is not served \({file}: expected SHA-256 .*\); choose another one"
    with pytest.raises(ReleaseBroken, match=told):
        repository.switch("net", 1)
    assert roots(repository) == before


def test_a_damaged_release_that_is_served_already_is_told(repository):
    before = roots(repository)
    flip(repository.root / "net_onnx" / "2" / "model.onnx")
    told = r"release 2 of net is served and is damaged \(net_onnx/2/model.onnx: expected .*\); choose another one"
    with pytest.raises(ReleaseBroken, match=told):
        repository.switch("net", 2)
    assert roots(repository) == before
    assert repository.switch("net", 1) == 1


def test_a_release_without_its_list_is_not_rolled_back_to(repository):
    (repository.root / "net_onnx" / "1" / "SHA256SUMS").unlink()
    with pytest.raises(ReleaseBroken, match="net_onnx/1/SHA256SUMS: cannot be read"):
        repository.switch("net", 1)


@pytest.mark.parametrize("role", ["onnx", "original"])
def test_a_damaged_twin_is_not_pinned_beside_its_successor(repository, spec, affine, role):
    """Triton may load it once more, be refused, and crash; until the switch the other twin answers for it."""
    flip(repository.root / f"net{ROLES[role]}" / "2" / "SHA256SUMS")
    server = Server(repository.root)
    assert release(repository, spec, affine, live=live(server)) == 3
    other = {"onnx": "original", "original": "onnx"}[role]
    assert server.seen[0] == ("net_onnx", {role: [3], other: [2, 3], "hybrid": [2]})
    assert pinned(repository) == dict.fromkeys(ROLES, (3,))


@pytest.mark.parametrize("file", ["config.pbtxt", "evidence.json", "model.py"])
def test_a_damaged_hybrid_can_be_published_over(repository, spec, affine, file):
    flip(repository.root / "net" / "2" / file)
    assert repository.repair("net") == []
    assert release(repository, spec, affine) == 3
    assert repository.damages("net", 3) == []


@pytest.mark.parametrize("suffix", ROLES.values())
@pytest.mark.parametrize("place", [b"name", b"max_batch", b"version_policy", b"versions: ", b"2\n  }\n}"])
def test_a_damaged_served_configuration_is_written_again(repository, suffix, place):
    before = roots(repository)
    flip(repository.root / f"net{suffix}" / "config.pbtxt", before[suffix].rindex(place))
    assert roots(repository) != before
    assert repository.repair("net") == ["pinned net to release 2 again"]
    assert roots(repository) == before
    assert repository.repair("net") == []


def test_an_intact_served_configuration_is_not_overwritten_by_a_damaged_copy(repository):
    before = roots(repository)
    flip(repository.root / "net" / "2" / "config.pbtxt")
    assert repository.repair("net") == []
    assert roots(repository) == before


def test_where_neither_hybrid_nor_twins_tell_what_is_served_nothing_is_guessed(repository):
    for suffix in ("", "_onnx"):
        flip(repository.root / f"net{suffix}" / "config.pbtxt", -2)
    with pytest.raises(PublishError, match=r"net/config\.pbtxt is not a Triton model configuration"):
        repository.repair("net")


def test_a_failed_publish_over_a_damaged_release_leaves_the_served_configurations_as_they_were(
    repository, spec, affine
):
    flip(repository.root / "net" / "2" / "config.pbtxt")
    before = roots(repository)
    server = Server(repository.root)
    server.fail_at = 1
    with pytest.raises(ReleaseQuarantined, match="refused"):
        release(repository, spec, affine, live=live(server))
    assert roots(repository) == before


def test_a_failed_publish_that_finds_no_pins_removes_no_release(repository, spec, affine):
    for suffix in ROLES.values():
        path = repository.root / f"net{suffix}" / "config.pbtxt"
        path.write_bytes((repository.root / f"net{suffix}" / "2" / "config.pbtxt").read_bytes())
    before = roots(repository)
    server = Server(repository.root)
    server.fail_at = 1
    with pytest.raises(ReleaseQuarantined, match="refused"):
        release(repository, spec, affine, live=live(server))
    assert roots(repository) == before
    assert repository.releases("net") == [1, 2]


def test_a_failed_publish_where_nothing_was_served_leaves_nothing_pinned(repository, spec, affine):
    for suffix in ROLES.values():
        (repository.root / f"net{suffix}" / "config.pbtxt").unlink()
    server = Server(repository.root)
    server.fail_at = 1
    with pytest.raises(ReleaseQuarantined, match="no release is served"):
        release(repository, spec, affine, live=live(server))
    assert list(repository.root.glob("*/config.pbtxt")) == []
    assert repository.releases("net") == [1, 2]
