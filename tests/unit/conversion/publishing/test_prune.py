"""Which releases go: old ones, and what is in quarantine; what serves, and the last number given, stay."""

import subprocess
import sys
from pathlib import Path

import pytest

from conversion.__main__ import main
from conversion.publishing.prune import Pruned, prune
from conversion.publishing.repository import Repository
from conversion.release.pbtxt import ROLES

from ..released import release, released
from ..server import Server, live
from .killed import killed_at


@pytest.fixture
def repository(tmp_path, spec, affine):
    """Releases 1 to 5 of 'net', 5 served."""
    made = released(tmp_path / "repository", spec, affine, releases=5)
    with made.locked():
        yield made


def quarantine(repository, version):
    staged = repository.stage("net")
    repository.quarantine.add("net", version, {role: staged / role for role in ROLES}, f"no {version}")


def test_the_newest_stay(repository):
    assert prune(repository, "net", 3) == Pruned((1, 2), (3, 4, 5), (), ())
    assert repository.versions("net") == [3, 4, 5]
    assert prune(repository, "net", 3) == Pruned((), (3, 4, 5), (), ())


def test_what_is_served_stays_however_old(repository):
    repository.switch("net", 2)
    assert prune(repository, "net", 1) == Pruned((1, 3, 4), (2, 5), (), ())
    assert repository.served("net") == 2


def test_what_a_server_has_loaded_stays(repository):
    server = Server(repository.root)
    server.ready = {"net_onnx": [3, 5], "net_original": [5], "net": [5]}
    assert prune(repository, "net", 1, live(server)).kept == (3, 5)


def test_the_last_number_in_quarantine_stays_taken(repository, spec, affine):
    for version in (6, 7, 8):
        quarantine(repository, version)
    assert prune(repository, "net", 5) == Pruned((), (1, 2, 3, 4, 5), (6, 7), (8,))
    assert [one.reason for one in repository.quarantine.releases("net")] == ["no 8"]
    assert release(repository, spec, affine) == 9


def test_a_name_that_begins_another_is_not_meant(repository):
    repository.quarantine.add("net-2", 1, {}, "another model")
    quarantine(repository, 6)
    assert [one.version for one in repository.quarantine.releases("net")] == [6]
    assert repository.quarantine.names() == ["net", "net-2"]


IMPORTS = """
from pathlib import Path
from conversion.publishing.repository import Repository
from conversion.publishing.prune import prune
"""
CODE = """
        repository = Repository(Path(home) / "repository")
        with repository.locked():
            sys.addaudithook(counted)
            prune(repository, "net", 1)
"""
EVENTS = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree")


def test_killed_at_any_step_no_half_release_stays(tmp_path, spec, affine):
    with killed_at(IMPORTS, CODE, EVENTS, anywhere=True) as killed:
        for step in range(1, 100):
            repository = Repository(tmp_path / str(step) / "repository")
            with repository.locked():
                for _ in range(2):
                    release(repository, spec, affine)
            was_killed = killed(tmp_path / str(step), step)
            with repository.locked():
                repository.repair("net")
            assert repository.served("net") == 2
            assert repository.versions("net") == repository.releases("net")
            assert all(repository.damages("net", version) == [] for version in repository.releases("net"))
            assert not [path for path in Path(f"{repository.root.parent}/.repository-staging").rglob("*.onnx")]
            if not was_killed:
                break
    assert step > 5
    assert (repository.root / "net" / "2").is_dir()


@pytest.mark.parametrize("command", ["prune", "rollback"])
def test_the_commands_keep_away_while_another_publisher_is_at_work(repository, command, capsys):
    assert main([command, "net", "--repository", str(repository.root), "--server", "none"]) == 9
    assert "is being published to by process" in capsys.readouterr().err
    assert repository.releases("net") == [1, 2, 3, 4, 5]


def test_the_command_says_what_went_and_what_stays(tmp_path, spec, affine, capsys):
    repository = Repository(tmp_path / "repository")
    with repository.locked():
        for _ in range(4):
            release(repository, spec, affine)
        quarantine(repository, 5)
        quarantine(repository, 6)
    arguments = ["--repository", str(repository.root)]
    assert main(["prune", "net", *arguments, "--server", "none"]) == 0
    assert capsys.readouterr().out == "net: removed 1, kept 2, 3, 4\n  in quarantine: removed 5, kept 6\n"
    assert main(["releases", *arguments]) == 0
    place = repository.quarantine.place("net", 6)
    assert capsys.readouterr().out == f"net: 2 3 [4]   ([n] is served)\n  6 is in quarantine, {place}: no 6\n"
    assert main(["prune", "other", *arguments, "--server", "none"]) == 9
    assert "holds no release of 'other'" in capsys.readouterr().err


@pytest.mark.parametrize("keep", ["0", "-1", "all"])
def test_at_least_one_release_stays(keep, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["prune", "net", "--keep", keep])
    assert caught.value.code == 2


FULL = """
import resource, signal, sys
from conversion.__main__ import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
sys.exit(main([*sys.argv[1:], "--server", "none"]))
"""


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("prune", 0, "net: removed 1, 2, kept 3, 4, 5\n"),
        ("rollback", 9, "error: cannot publish to {root}: File too large; what was served before is untouched\n"),
    ],
)
def test_a_disk_that_takes_no_byte_more_can_be_pruned(tmp_path, spec, affine, command, code, told):
    """The limit on file sizes makes the kernel refuse every write, as a full disk does."""
    repository = released(tmp_path / "repository", spec, affine, releases=5)
    done = subprocess.run(
        [sys.executable, "-c", FULL, command, "net", "--repository", str(repository.root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout + done.stderr) == (code, told.format(root=repository.root))
    assert repository.served("net") == 5
