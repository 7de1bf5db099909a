"""A publish that fails and cannot be undone says so, and the next one undoes it."""

import errno

import pytest

from conversion.errors import (
    JournalDamaged,
    ReleaseQuarantined,
    ReleaseRefused,
    ReleaseStays,
    RepositoryUnreadable,
    UndoFailed,
)
from conversion.publishing import journal, pinning
from conversion.publishing.repository import Repository
from conversion.release import pbtxt
from conversion.release.pbtxt import ROLES

from ..released import release, released
from ..server import Server, live, serving

FULL = "No space left on device"
# Writes of a publish: three configurations into the release, the journal, then the pins, the hybrid's third.
HYBRID_SWITCHED = 8


@pytest.fixture
def repository(tmp_path, spec, affine, monkeypatch):
    """Release 1 of 'net'."""
    monkeypatch.setattr("conversion.publishing.live_replay._PAUSES", (0.0,))
    made = released(tmp_path / "repository", spec, affine)
    with made.locked():
        yield made


@pytest.fixture
def server(repository):
    """It serves release 1."""
    return serving(repository)


@pytest.fixture
def disk(monkeypatch):
    """How many more files it takes, as the one element of a list."""
    real, room = pbtxt.replace_file, [1000]

    def replace_file(content, path):
        if not room[0]:
            raise OSError(errno.ENOSPC, FULL)
        room[0] -= 1
        real(content, path)

    for module in (pbtxt, pinning, journal):
        monkeypatch.setattr(module, "replace_file", replace_file)
    return room


def serves(server, version):
    return server.ready == {f"net{suffix}": [version] for suffix in ROLES.values()}


def test_a_disk_that_stays_full_is_told_with_what_may_be_served(repository, server, spec, affine, disk):
    disk[0] = HYBRID_SWITCHED - 1
    with pytest.raises(UndoFailed) as caught:
        release(repository, spec, affine, live=live(server))
    told = str(caught.value)
    assert told.startswith(
        f"release 2 of net did not go live ({FULL}), and that could not be undone: {FULL}; until it is"
    )
    assert "release 2 may be served" in told
    assert "as before" not in told
    assert "untouched" not in told
    assert server.ready["net"] == [2]
    with pytest.raises(UndoFailed, match=r"its publisher was cut short\), and that could not be undone: No space"):
        repository.repair("net", live(server))
    disk[0] = 1000
    assert repository.repair("net", live(server)) == ["undid the unfinished switch of net to release 2"]
    assert serves(server, 1)
    assert repository.releases("net") == [1]


def test_a_disk_that_is_full_before_anything_is_switched_is_undone_and_told_so(repository, server, spec, affine, disk):
    disk[0] = 4
    with pytest.raises(ReleaseQuarantined, match=f"did not go live: {FULL}; release 1 is served as before"):
        release(repository, spec, affine, live=live(server))
    assert serves(server, 1)


def test_whoever_interrupts_the_undoing_is_told_that_it_is_not_done(repository, server, spec, affine):
    load, loads = server.load, []

    def interrupted(model):
        loads.append(model)
        if len(loads) in (3, 4):
            raise KeyboardInterrupt
        load(model)

    server.load = interrupted
    with pytest.raises(
        UndoFailed, match=r"live \(interrupted\), and that could not be undone: interrupted; until it is"
    ):
        release(repository, spec, affine, live=live(server))
    server.load = load
    assert repository.repair("net", live(server)) == ["undid the unfinished switch of net to release 2"]
    assert serves(server, 1)


HEARD = "the server did not take net: Deadline Exceeded"


def hears_nothing_after_the_hybrid(server, then):
    """The hybrid switches, `then` is raised, and from there on the server refuses every load."""
    load, switched = server.load, []

    def refusing(model):
        if switched:
            raise ReleaseRefused(HEARD)
        load(model)
        if model == "net":
            switched.append(model)
            raise then

    server.load = refusing


@pytest.mark.parametrize("then", [KeyboardInterrupt(), OSError(errno.ENOSPC, FULL)], ids=["interrupt", "full"])
@pytest.mark.parametrize("rollback", [False, True], ids=["publish", "rollback"])
def test_what_the_server_does_not_take_back_is_told_whatever_began_it(repository, server, spec, affine, then, rollback):
    if rollback:
        release(repository, spec, affine, live=live(server))
    hears_nothing_after_the_hybrid(server, then)
    told = ReleaseStays if rollback else ReleaseQuarantined
    with pytest.raises(
        told, match=rf"release {1 + rollback} is pinned again, which the server did not take \({HEARD};"
    ):
        repository.switch("net", 1, live(server)) if rollback else release(repository, spec, affine, live=live(server))
    assert repository.served("net") == 1 + rollback


def test_a_first_release_that_the_server_does_not_let_go_is_told(tmp_path, spec, affine):
    repository = Repository(tmp_path / "first")
    server = Server(repository.root)
    hears_nothing_after_the_hybrid(server, KeyboardInterrupt())

    def refused(_model):
        raise ReleaseRefused("busy")

    server.unload = refused
    with repository.locked(), pytest.raises(ReleaseQuarantined, match="no release is pinned any more, which the serv"):
        release(repository, spec, affine, live=live(server))


@pytest.fixture
def begun(repository, server, spec, affine):
    """The journal of a switch to release 2 that was neither ended nor undone: the hybrid serves 2, not proved."""
    load, loads = server.load, []

    def interrupted(model):
        loads.append(model)
        load(model)
        if len(loads) in (3, 4):
            raise KeyboardInterrupt

    server.load = interrupted
    with pytest.raises(UndoFailed):
        release(repository, spec, affine, live=live(server))
    server.load = load
    (path,) = repository.root.parent.glob(".repository-staging/journal/net.json")
    return path


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"7", b"{}", b'{"saved": {}}', b'{"saved": {}, "new": 2, "x": 1}']
)
def test_a_journal_that_is_damaged_ends_no_switch(repository, server, begun, content):
    """Empty, as a power cut can leave what was not written through."""
    sound = begun.read_bytes()
    begun.write_bytes(content)
    server.calls.clear()
    with pytest.raises(JournalDamaged, match=rf"^{begun} tells of a switch of net that .* remove the file, and serve"):
        repository.repair("net", live(server))
    assert begun.read_bytes() == content
    assert server.calls == []
    begun.write_bytes(sound)
    assert repository.repair("net", live(server)) == ["undid the unfinished switch of net to release 2"]
    assert serves(server, 1)


def test_a_journal_that_cannot_be_read_ends_no_switch(repository, server, begun):
    """A link to itself; root, who runs some of these tests, may read whatever has only the wrong permissions."""
    aside = begun.rename(begun.with_name("aside"))
    begun.symlink_to(begun)
    with pytest.raises(RepositoryUnreadable, match=f"^{begun} cannot be read: Too many levels"):
        repository.repair("net", live(server))
    begun.unlink()
    aside.rename(begun)
    assert repository.repair("net", live(server)) == ["undid the unfinished switch of net to release 2"]
    assert serves(server, 1)


def test_without_the_damaged_journal_any_release_can_be_served(repository, server, begun):
    begun.write_bytes(b"")
    begun.unlink()
    repository.repair("net", live(server))
    assert repository.switch("net", 1, live(server)) == 1
    assert serves(server, 1)
