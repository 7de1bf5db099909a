"""What repairing takes away, and what it leaves alone: of other models, and of releases of which a part is gone."""

import shutil

import pytest

from conversion.__main__ import main
from conversion.errors import ModelForeign, RepositoryUnreadable
from conversion.release.pbtxt import ROLES
from conversion.spec import ModelSpec
from python_backend.integrity import pins

from ..released import release, released
from ..server import Server, live, serving

LACKING = "release 2 of net is pinned and not whole: net_original/2 is missing; put it back, or serve another release"


@pytest.fixture
def repository(tmp_path, spec, affine):
    """Releases 1 and 2 of 'net', 2 served, beside a model of somebody else's."""
    made = released(tmp_path / "repository", spec, affine, releases=2)
    (made.root / "tokenizer" / "1").mkdir(parents=True)
    (made.root / "tokenizer" / "1" / "model.py").write_text("# by hand")
    (made.root / "tokenizer" / "config.pbtxt").write_text('backend: "python"')
    return made


def files(repository):
    return {path: path.read_bytes() for path in sorted(repository.root.rglob("*")) if path.is_file()}


def pinned(repository):
    return {role: pins(repository.root / f"net{suffix}" / "config.pbtxt") for role, suffix in ROLES.items()}


@pytest.mark.parametrize("command", ["rollback", "prune"])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("net_onnx", "'net_onnx' is not a public name but that of a twin; name 'net'"),
        ("net_original", "'net_original' is not a public name but that of a twin; name 'net'"),
        ("tokenizer", "tokenizer was not published by convert, and is left alone; `releases` lists what was, and"),
        ("../repository/net", "'../repository/net' is not a model's name; `releases` lists those that are published"),
        (".", "'.' is not a model's name"),
    ],
)
def test_what_is_no_public_name_of_ours_is_refused_with_nothing_touched(repository, command, name, told, capsys):
    before = files(repository)
    assert main([command, name, "--repository", str(repository.root), "--server", "none"]) == 9
    assert files(repository) == before
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1
    assert told in error


@pytest.mark.parametrize("model", ["tokenizer", "word_onnx"])
def test_nothing_is_published_over_a_model_of_somebody_else(repository, model):
    (repository.root / "word_onnx" / "7").mkdir(parents=True)
    with pytest.raises(ModelForeign, match=f"{model} was not published by convert"):
        repository.repair(model.removesuffix("_onnx"))


def test_a_name_that_is_not_there_yet_and_one_that_lost_all_its_versions_are_ours_to_publish(repository, spec, affine):
    assert repository.repair("new") == []
    for version in (1, 2):
        for role in ROLES:
            shutil.rmtree(repository.release_folder("net", role, version))
    assert repository.repair("net") == []
    assert repository.names() == ["net"]
    with repository.locked():
        assert release(repository, spec, affine) == 1


@pytest.mark.parametrize("command", ["rollback", "prune", "repair"])
def test_a_served_release_of_which_a_part_was_moved_away_keeps_the_rest(repository, tmp_path, command, capsys):
    away = tmp_path / "away"
    (repository.root / "net_original" / "2").rename(away)
    before = files(repository)
    if command == "repair":
        assert repository.repair("net") == [LACKING]
        assert files(repository) == before
    else:
        code = main([command, "net", "--repository", str(repository.root), "--server", "none"])
        assert code == 0
        assert f"note: {LACKING}\n" in capsys.readouterr().err
        assert {path for path in before if path.name != "config.pbtxt"} <= files(repository).keys()
    away.rename(repository.root / "net_original" / "2")
    assert repository.releases("net") == [1, 2]
    assert repository.damages("net", 2) == []


def test_a_server_goes_on_with_a_served_release_of_which_a_part_is_gone_until_there_is_another(
    repository, spec, affine, monkeypatch
):
    monkeypatch.setattr("conversion.publishing.live_replay._PAUSES", (0.0,))
    server = serving(repository)
    shutil.rmtree(repository.root / "net_original" / "2")
    server.calls.clear()
    assert repository.repair("net", live(server)) == [LACKING]
    assert server.calls == []
    with repository.locked():
        assert release(repository, spec, affine, live=live(server)) == 3
    assert server.ready == {f"net{suffix}": [3] for suffix in ROLES.values()}


def test_a_refused_publish_keeps_the_configuration_of_a_model_whose_versions_are_gone(repository, spec, affine):
    shutil.rmtree(repository.root / "net_original" / "1")
    shutil.rmtree(repository.root / "net_original" / "2")
    before = files(repository)
    server = Server(repository.root)
    server.fail_at = 1
    with repository.locked(), pytest.raises(Exception, match="did not go live"):
        release(repository, spec, affine, live=live(server))
    assert files(repository) == before


@pytest.mark.parametrize("role", ["onnx", "original", "hybrid"])
def test_a_version_that_any_of_the_three_pins_is_never_removed(repository, role):
    """Also where the pins disagree: whichever is right, its files are there."""
    suffix = ROLES[role]
    config = repository.root / f"net{suffix}" / "config.pbtxt"
    config.write_text(config.read_text().replace("versions: 2", "versions: 1"))
    other = next(r for r in ROLES if r != role)
    shutil.rmtree(repository.release_folder("net", other, 1))
    done = repository.repair("net")
    assert any(f"net{ROLES[other]}/1 is missing" in sentence for sentence in done)
    assert repository.release_folder("net", role, 1).is_dir()
    assert repository.releases("net") == [2]


@pytest.mark.parametrize("version", [1, 3])
def test_what_is_not_whole_and_nobody_noted_stays_and_is_told(repository, version):
    """An rsync that is half-way, or a folder that somebody put aside: older or newer than what is served."""
    if version == 3:
        shutil.copytree(repository.root / "net", repository.root / "more", dirs_exist_ok=True)
        (repository.root / "more" / "2").rename(repository.root / "net" / "3")
        shutil.rmtree(repository.root / "more")
        lacks = "net_onnx/3 and net_original/3 are missing; put it back, or remove net/3"
    else:
        shutil.rmtree(repository.root / "net" / "1")
        lacks = "net/1 is missing; put it back, or remove net_onnx/1 and net_original/1"
    before = files(repository)
    assert repository.repair("net") == [f"left version {version} of net, which is not whole: {lacks}"]
    assert files(repository) == before


def test_the_rest_of_a_release_that_went_into_quarantine_by_half_goes_there_too(repository):
    place = repository.quarantine.add("net", 1, {"onnx": repository.root / "net_onnx" / "1"}, "refused")
    assert repository.repair("net") == ["moved the rest of release 1 of net into quarantine"]
    assert {path.name for path in place.iterdir()} == {"reason.txt", *ROLES}
    assert repository.versions("net") == [2]


def test_a_removal_that_was_noted_once_does_not_take_a_whole_release(repository):
    note = repository.root.parent / ".repository-staging" / "removed" / "net" / "onnx-1"
    note.mkdir(parents=True)
    assert repository.repair("net") == []
    assert repository.releases("net") == [1, 2]
    assert not note.exists()


@pytest.mark.parametrize("suffix", ROLES.values())
def test_a_folder_that_cannot_be_listed_is_an_error_and_not_an_empty_one(repository, suffix, capsys):
    """A link to itself; root, who runs some of these tests, may read whatever has only the wrong permissions."""
    folder = repository.root / f"net{suffix}"
    folder.rename(repository.root.parent / "aside")
    before = files(repository)
    folder.symlink_to(folder)
    with pytest.raises(RepositoryUnreadable, match=rf"net{suffix}(/config.pbtxt)? cannot be read: Too many levels"):
        repository.repair("net")
    for command in ("rollback", "prune"):
        assert main([command, "net", "--repository", str(repository.root), "--server", "none"]) == 9
    folder.unlink()
    assert files(repository) == before


def test_what_is_none_of_ours_is_not_among_the_names(repository):
    (repository.root / "README.md").write_text("")
    (repository.root / "lost+found").mkdir()
    (repository.root / ".hidden" / "1").mkdir(parents=True)
    assert repository.names() == ["net"]


def test_publishing_beside_models_of_others_works(repository, spec, affine):
    other = ModelSpec(name="tok", folder=spec.folder, source=spec.source)
    with repository.locked():
        assert repository.repair("tok") == []
        assert release(repository, other, affine) == 1
    assert repository.names() == ["net", "tok"]
