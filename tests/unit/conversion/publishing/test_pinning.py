"""Pins that a server which goes by times, as Triton does, loads when it is told to, whatever the clock says."""

import os
import time

import pytest

from conversion.errors import PublishError, ReleaseQuarantined
from conversion.release.pbtxt import ROLES

from ..released import release, released
from ..server import Server, live

HOUR_NS = 3600 * 10**9


@pytest.fixture
def repository(tmp_path, spec, affine):
    """Releases 1 and 2 of 'net', the second one served."""
    made = released(tmp_path / "repository", spec, affine, releases=2)
    with made.locked():
        yield made


class Timed(Server):
    """Says that it has loaded, and does it only where something of the model is newer than all that it loaded."""

    def __init__(self, root):
        super().__init__(root)
        self.loaded_ns = {}

    def load(self, model):
        newest = max(times(self.root / model).values())
        if newest > self.loaded_ns.get(model, 0):
            super().load(model)
            self.loaded_ns[model] = newest


def times(folder):
    return {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


def later(folder, by_ns=HOUR_NS):
    """All of it is of a later time: as it is where the clock has been set back since."""
    for path, found in times(folder).items():
        os.utime(path, ns=(found + by_ns, found + by_ns))


def serving(repository):
    server = Timed(repository.root)
    for suffix in ROLES.values():
        server.load(f"net{suffix}")
    return server


def serves(server, version):
    return server.ready == {f"net{suffix}": [version] for suffix in ROLES.values()}


def test_what_is_written_after_the_clock_was_set_back_is_loaded(repository, spec, affine):
    later(repository.root)
    server = serving(repository)
    assert repository.switch("net", 1, live(server)) == 1
    assert serves(server, 1)
    assert release(repository, spec, affine, live=live(server)) == 3
    assert serves(server, 3)
    repository.switch("net", 2)
    assert repository.repair("net", live(server)) == ["brought 127.0.0.1:1 back to release 2 of net"]
    assert serves(server, 2)
    # No more ahead than it has to be.
    newest = max(max(times(repository.root / f"net{suffix}").values()) for suffix in ROLES.values())
    assert newest < time.time_ns() + HOUR_NS


def test_what_is_taken_back_after_the_clock_was_set_back_is_loaded(repository, spec, affine):
    later(repository.root)
    server = serving(repository)
    # The hybrid has switched by then.
    server.fail_at, server.error = len(server.calls) + 6, PublishError("gone")
    with pytest.raises(ReleaseQuarantined, match="gone; release 2 is served as before"):
        release(repository, spec, affine, live=live(server))
    assert serves(server, 2)
    assert release(repository, spec, affine, live=live(server)) == 4
    assert serves(server, 4)


def test_releases_with_files_of_a_later_year_are_published_and_rolled_back(repository, spec, affine, monkeypatch):
    publish = repository.publish

    def dated(name, staged, *more, **options):
        later(staged / "original" / "source", 50 * 365 * 24 * HOUR_NS)
        return publish(name, staged, *more, **options)

    monkeypatch.setattr(repository, "publish", dated)
    server = serving(repository)
    for version in (3, 4):
        assert release(repository, spec, affine, live=live(server)) == version
        assert serves(server, version)
    assert repository.switch("net", 2, live(server)) == 2
    assert serves(server, 2)


def test_nothing_of_a_model_is_as_new_as_its_pins(repository):
    """The folder, too: it is dated by the rename, and perhaps by a clock that was set back before it is again."""
    for suffix in ROLES.values():
        found = times(repository.root / f"net{suffix}")
        pins = found.pop(repository.root / f"net{suffix}" / "config.pbtxt")
        assert max(found.values()) < pins


def test_pins_are_written_where_times_cannot_be_set(repository, monkeypatch):
    def refused(*_, **__):
        raise PermissionError

    monkeypatch.setattr("conversion.publishing.pinning.os.utime", refused)
    assert repository.switch("net", 1) == 1
    assert repository.served("net") == 1
