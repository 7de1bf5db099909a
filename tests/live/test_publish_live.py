"""A release that loads and answers wrongly, one that breaks, an interrupt: the old release serves, no request fails.

Tests that leave release 1 as they found it come first: the next one goes on with it.
"""

import os
import signal
import threading
import time

import pytest

from conversion.__main__ import main
from conversion.errors import ReleaseQuarantined
from conversion.publishing.prune import prune
from conversion.publishing.repository import Repository
from conversion.release.pbtxt import ROLES

from .release_net import NAME, Load, ask, forget, live_on, release, serve
from .test_publish_soak import Publisher, assert_gone

MODELS = [f"{NAME}{suffix}" for suffix in ROLES.values()]


@pytest.fixture(scope="module", autouse=True)
def swept(triton):
    """What these tests published goes when they are done."""
    yield
    if any((triton.repository / model).exists() for model in MODELS):
        forget(triton)


@pytest.fixture
def live(triton):
    """The running server, with release 1 (factor 2) served, and nothing else: that of the test before if it left it."""
    made = live_on(triton.server.grpc_url)
    repository = Repository(triton.repository)
    quarantine = repository.quarantine
    for one in quarantine.releases(NAME):
        quarantine.remove(NAME, one.version)
    if not left_as_begun(triton, repository):
        if any((triton.repository / model).exists() for model in MODELS):
            forget(triton)
        with repository.locked():
            release(repository, 2)
        serve(triton.control)
    return made


def left_as_begun(triton, repository, wait_s=5.0):
    """Whether release 1 is all that there is, served, and right; what is still being unloaded is waited for."""
    if repository.versions(NAME) != [1] or repository.served(NAME) != 1:
        return False
    end = time.monotonic() + wait_s
    while True:
        index = [one for one in triton.control.index() if one.name in MODELS]
        there = {(one.name, one.version) for one in index if one.state != "UNAVAILABLE"}
        if there == {(model, 1) for model in MODELS}:
            return all(one.ready for one in index if one.version == 1) and ask(triton.server.grpc_url) == 2
        if time.monotonic() > end:
            return False
        time.sleep(0.1)


@pytest.fixture
def repository(triton, live):
    made = Repository(triton.repository)
    with made.locked():
        yield made


@pytest.fixture
def options(triton):
    return ["--repository", str(triton.repository), "--server", triton.server.grpc_url]


def assert_served_alone(triton, version, wait_s=20.0):
    """The three models come to serve this version and no other: Triton drops what it unloads a little later."""
    wanted = {(f"{NAME}{suffix}", version) for suffix in ROLES.values()}
    end = time.monotonic() + wait_s
    while True:
        index = [one for one in triton.control.index() if one.name in MODELS]
        ready = {(one.name, one.version) for one in index if one.ready}
        if ready == wanted:
            return
        assert time.monotonic() < end, index
        time.sleep(0.1)


def test_a_first_release_that_answers_otherwise_leaves_the_server_without_it(triton):
    repository = Repository(triton.repository)
    with repository.locked(), pytest.raises(ReleaseQuarantined, match="no release is served, and the new one lies in"):
        release(repository, 2, live_on(triton.server.grpc_url), twin_factor=2.5)
    assert not [one for one in triton.control.index() if one.name.startswith(NAME) and one.ready]
    assert not list(triton.repository.glob(f"{NAME}*"))
    assert [one.version for one in repository.quarantine.releases(NAME)] == [1]
    repository.quarantine.remove(NAME, 1)


def test_a_hybrid_that_cannot_ask_its_twin_is_taken_back_under_load(triton, live, repository, monkeypatch):
    """Both twins answer; only through the hybrid does it show that one is never reached."""
    publish = repository.publish

    def broken(name, staged, *more):
        settings = staged / "hybrid" / "settings.py"
        code = settings.read_text()
        settings.write_text(code.replace("f\"{config['name']}_onnx\"", '"nowhere"').replace("primary_model", "nobody"))
        assert settings.read_text() != code
        return publish(name, staged, *more)

    monkeypatch.setattr(repository, "publish", broken)
    with Load(triton.server.grpc_url) as load:
        with pytest.raises(ReleaseQuarantined, match="was answered by original, not onnx"):
            release(repository, 3, live)
        assert_served_alone(triton, 1)
    assert load.failures == []
    assert set(load.factors) == {2.0, 3.0}
    assert ask(triton.server.grpc_url) == 2


def test_an_interrupted_publish_is_taken_back_under_load(triton, live, repository, monkeypatch):
    """While the server loads the second twin."""
    load_model, loads = live.server.load, []

    def load_and_interrupt(model):
        loads.append(model)
        if len(loads) == 2:
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        load_model(model)

    monkeypatch.setattr(live.server, "load", load_and_interrupt)
    with Load(triton.server.grpc_url) as load:
        with pytest.raises(KeyboardInterrupt):
            release(repository, 3, live)
        assert_served_alone(triton, 1)
    assert load.failures == []
    assert [one.reason for one in repository.quarantine.releases(NAME)] == ["interrupted"]
    assert ask(triton.server.grpc_url) == 2


@pytest.mark.parametrize("after_s", [1.0, 3.0])
def test_the_server_of_a_rehearsal_goes_with_a_publisher_that_is_killed(triton, live, after_s):
    staging = triton.repository.parent / f".{triton.repository.name}-staging"
    publisher = Publisher(triton.server, "publish", "3", "rehearse")
    assert publisher.killed_after(after_s)
    assert_gone(str(staging))
    # The lock went with it, too.
    repository = Repository(triton.repository)
    with repository.locked():
        repository.repair(NAME, live)
    assert_in_order(triton)


def assert_in_order(triton):
    """As `in_order`, on the server that other tests use as well."""
    staging = triton.repository.parent / f".{triton.repository.name}-staging"
    left = [path for path in staging.rglob("*") if path.is_file() and "quarantine" not in path.parts]
    assert left == [staging / "lock"]
    assert_served_alone(triton, 1)


def test_the_next_run_of_an_unchanged_repository_brings_the_server_back(triton, live, repository):
    """A release that was published to the files alone, as with --server none: the server still has the old one."""
    release(repository, 3)
    assert ask(triton.server.grpc_url) == 2
    with Load(triton.server.grpc_url) as load:
        done = repository.repair(NAME, live)
    assert done == [f"brought {triton.server.grpc_url} back to release 2 of {NAME}"]
    assert_served_alone(triton, 2)
    assert load.failures == []


def test_prune_keeps_what_is_served_and_what_the_server_has_loaded(triton, live, options, capsys):
    repository = Repository(triton.repository)
    with repository.locked():
        for factor in (3, 4, 5):
            release(repository, factor)
        repository.switch(NAME, 2)
        triton.control.switch(NAME)
        # Whoever serves release 3 beside it, for tests of his own, keeps it.
        config = repository.root / f"{NAME}_onnx" / "config.pbtxt"
        config.write_text(config.read_text().replace("versions: 2\n", "versions: 2\n    versions: 3\n"))
        triton.control.load(f"{NAME}_onnx")
        config.write_text(config.read_text().replace("    versions: 3\n", ""))
        pruned = prune(repository, NAME, 1, live)
        assert (pruned.removed, pruned.kept) == ((1,), (2, 3, 4))
    # The command repairs first, which brings the server back to what is pinned.
    assert main(["prune", NAME, "--keep", "1", *options]) == 0
    assert capsys.readouterr().out == f"{NAME}: removed 3, kept 2, 4\n"
    assert_served_alone(triton, 2)
    assert ask(triton.server.grpc_url) == 3


@pytest.mark.parametrize("rehearse", [True, False], ids=["in rehearsal", "on the running server"])
def test_a_twin_that_answers_otherwise_is_quarantined(triton, live, repository, capsys, rehearse):
    url = triton.server.grpc_url
    place = repository.quarantine.place(NAME, 2)
    with Load(url) as load:
        with pytest.raises(ReleaseQuarantined) as caught:
            release(repository, 3, live_on(url, rehearse=rehearse), twin_factor=3.5)
        assert_served_alone(triton, 1)
    told = str(caught.value)
    assert f"{NAME}_onnx version 2 on 127.0.0.1:" in told
    assert "does not give its golden samples: output 'y' at x[2, 4]: 7 of 8 values differ" in told
    assert told.endswith(f"release 1 is served as before, and the new one lies in {place}")
    assert ("in rehearsal" in told) is rehearse
    assert load.failures == []
    assert set(load.factors) == {2.0}
    assert {path.name for path in place.iterdir()} == {"hybrid", "onnx", "original", "reason.txt"}
    assert not list(triton.repository.glob(f"{NAME}*/2"))
    assert_gone(str(repository.root.parent / f".{repository.root.name}-staging"))
    assert main(["releases", NAME, "--repository", str(triton.repository)]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[0] == f"{NAME}: [1]   ([n] is served)"
    assert listed[1].startswith(f"  2 is in quarantine, {place}: ")
    assert "does not give its golden samples" in listed[1]
    # The number is spent.
    assert release(repository, 4, live) == 3
    assert ask(url) == 4
