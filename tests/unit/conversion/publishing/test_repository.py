"""The repository under a publisher that works, fails, is interrupted or killed at any step."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from conversion.errors import InterfaceChanged, ReleaseUnknown, RepositoryLocked, RepositoryUnwritable
from conversion.interface import Facts
from conversion.publishing.repository import Repository
from conversion.publishing.switching import forward
from conversion.release.pbtxt import ROLES, model_configs, read_config

from .killed import killed_at

X = (Facts("x", "float32", ("batch", 4)),)
Y = (Facts("y", "float32", ("batch", 4)),)


def publish(repository, spec, content="weights", outputs=Y, **options):
    """Publish a release whose files all hold `content`; gives its number."""
    staged = repository.stage(spec.name)
    for role in ROLES:
        (staged / role / "file").write_text(content)
    return repository.publish(spec.name, staged, model_configs(spec, X, outputs), **options)


def pins(repository, name="net"):
    return {
        role: list(read_config(repository.root / f"{name}{suffix}" / "config.pbtxt").version_policy.specific.versions)
        for role, suffix in ROLES.items()
    }


def tree(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture
def repository(tmp_path):
    made = Repository(tmp_path / "repository")
    with made.locked():
        yield made


def test_the_first_release_is_number_one_and_pinned_in_all_three_models(repository, spec):
    assert publish(repository, spec) == 1
    assert pins(repository) == {"onnx": [1], "original": [1], "hybrid": [1]}
    assert (repository.root / "net_onnx" / "1" / "file").read_text() == "weights"
    assert repository.names() == ["net"]


def test_a_version_is_never_overwritten(repository, spec):
    publish(repository, spec, "first")
    assert publish(repository, spec, "second") == 2
    assert (repository.root / "net" / "1" / "file").read_text() == "first"
    assert pins(repository) == {"onnx": [2], "original": [2], "hybrid": [2]}


def test_rollback_serves_the_release_before(repository, spec):
    for content in ("first", "second", "third"):
        publish(repository, spec, content)
    assert repository.switch("net", None) == 2
    assert repository.served("net") == 2
    assert repository.switch("net", None) == 1
    with pytest.raises(ReleaseUnknown, match="no earlier release of net to serve; releases on disk: 1, 2, 3"):
        repository.switch("net", None)
    assert repository.switch("net", 3) == 3
    with pytest.raises(ReleaseUnknown, match="no release 9 of net"):
        repository.switch("net", 9)


def test_a_changed_interface_is_refused_unless_accepted(repository, spec):
    publish(repository, spec)
    before = tree(repository.root)
    wider = (Facts("y", "float32", ("batch", 5)),)
    with pytest.raises(InterfaceChanged, match=r"output 'y' was TYPE_FP32 \[4\] and becomes TYPE_FP32 \[5\]"):
        publish(repository, spec, outputs=wider)
    assert tree(repository.root) == before
    assert publish(repository, spec, outputs=wider, new_interface=True) == 2
    assert list(read_config(repository.root / "net" / "config.pbtxt").output[0].dims) == [5]
    assert repository.switch("net", 1) == 1
    assert list(read_config(repository.root / "net" / "config.pbtxt").output[0].dims) == [4]


def test_fewer_rows_in_a_call_are_refused_unless_accepted_and_need_no_gap(repository, spec, monkeypatch):
    def rows(count):
        return replace(spec, serving=replace(spec.serving, max_batch_size=count))

    told = []
    monkeypatch.setattr(
        "conversion.publishing.repository.forward", lambda *given: told.append(given[2].beside) or forward(*given)
    )
    publish(repository, rows(100))
    with pytest.raises(InterfaceChanged, match=r"max_batch_size was 100 and becomes 32"):
        publish(repository, rows(32))
    assert publish(repository, rows(32), new_interface=True) == 2
    assert publish(repository, rows(64)) == 3
    assert repository.switch("net", 2) == 2
    assert [beside["onnx"] for beside in told] == [[1], [1, 2], [2, 3], [3, 2]]


def test_two_publishers_do_not_meet(repository):
    with pytest.raises(RepositoryLocked, match=f"by process {os.getpid()}"), Repository(repository.root).locked():
        pass


@pytest.mark.parametrize("place", ["repository", "link/repository", ".", "linked"])
def test_by_whatever_path_it_is_the_same_repository(repository, spec, tmp_path, monkeypatch, place):
    publish(repository, spec)
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "linked").symlink_to(repository.root)
    starts = {".": repository.root, "linked": tmp_path / "elsewhere"}
    monkeypatch.chdir(starts.get(place, tmp_path))
    same = Repository(Path(place))
    with pytest.raises(RepositoryLocked, match=re.escape(str(repository.root))), same.locked():
        pass
    monkeypatch.chdir("/")
    assert same.releases("net") == [1]
    assert not list((tmp_path / "elsewhere").glob(".*"))


def test_a_full_disk_is_one_sentence_and_nothing_changes(tmp_path, spec):
    """The limit on file sizes makes the kernel refuse a write half-way, as a full disk does."""
    program = f"""
import resource, signal
from tests.unit.conversion.publishing.test_repository import publish
from conversion.publishing.repository import Repository
from conversion.errors import RepositoryUnwritable
from conversion.spec import ModelSpec, SourceSpec
from pathlib import Path
spec = ModelSpec("net", Path("."), SourceSpec("keras", "net.keras"))
repository = Repository(Path({str(tmp_path / "repository")!r}))
with repository.locked():
    publish(repository, spec)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    try:
        publish(repository, spec)
    except RepositoryUnwritable as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == (
        f"cannot publish to {tmp_path / 'repository'}: File too large; what was served before is untouched\n"
    )
    repository = Repository(tmp_path / "repository")
    assert repository.releases("net") == [1]
    assert pins(repository) == {"onnx": [1], "original": [1], "hybrid": [1]}
    assert all(path.stat().st_size for path in repository.root.rglob("config.pbtxt"))


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RepositoryUnwritable, match="Not a directory"), Repository(tmp_path / "file" / "r").locked():
        pass


IMPORTS = """
from pathlib import Path
from tests.unit.conversion.publishing.test_repository import publish
from conversion.publishing.repository import Repository
from conversion.spec import ModelSpec, SourceSpec
spec = ModelSpec("net", Path("."), SourceSpec("keras", "net.keras"))
"""
CODE = """
        repository = Repository(Path(home) / "repository")
        with repository.locked():
            sys.addaudithook(counted)
            publish(repository, spec, "second")
"""
EVENTS = ("os.rename", "os.mkdir", "os.remove", "open")


def test_a_publisher_killed_at_any_step_is_repaired_by_the_next(tmp_path, spec):
    """Every file that it opens or removes, and every folder that it makes or renames, is a place to be killed at."""
    outcomes = set()
    with killed_at(IMPORTS, CODE, EVENTS) as killed:
        for step in range(1, 200):
            root = tmp_path / str(step) / "repository"
            repository = Repository(root)
            with repository.locked():
                publish(repository, spec, "first")
            was_killed = killed(root.parent, step)
            with repository.locked():
                repository.repair("net")
            served = repository.served("net")
            assert pins(repository) == {role: [served] for role in ROLES}
            assert served in repository.releases("net")
            for role in ROLES:
                content = (repository.release_folder("net", role, served) / "file").read_text()
                assert content == {1: "first", 2: "second"}[served]
                assert {v.name for v in (root / f"net{ROLES[role]}").iterdir() if v.is_dir()} == {
                    str(v) for v in repository.releases("net")
                }
            left = {path.name for path in root.parent.rglob("*") if path.is_file()}
            assert left == {"config.pbtxt", "file", "lock", "SHA256SUMS"}
            outcomes.add((was_killed, served))
            if not was_killed:
                break
    # Killed early the old release is served, killed late the new one, and at the end nothing was left to kill.
    assert outcomes == {(True, 1), (True, 2), (False, 2)}
    assert step > 15
