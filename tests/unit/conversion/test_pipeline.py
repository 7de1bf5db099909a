"""Conversions beside others: of one name, into one repository, and beside who rolls back."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest

from conversion import pipeline
from conversion.__main__ import main
from conversion.bundling import make_bundle
from conversion.errors import PublishError, RepositoryLocked
from conversion.pipeline import convert
from conversion.publishing.repository import Repository
from conversion.release.fingerprint import fingerprint, sha256_file

from .released import release, released
from .server import live, serving


@pytest.fixture
def net(spec):
    folder = spec.folder / "net"
    folder.mkdir()
    (folder / "net.keras").write_text("weights")
    return replace(spec, folder=folder)


def test_the_second_is_refused_and_takes_nothing_from_the_first(net, tmp_path, monkeypatch):
    build, sentences = tmp_path / "build", []

    def into(name):
        convert(net, Repository(tmp_path / name), build_folder=build, report=lambda _: None)

    def worker(_task, work, log, _report):
        work.mkdir(parents=True)
        (work / "onnx").write_text("the first one's")
        log.write_text("what a framework said")
        with pytest.raises(PublishError) as refused:
            into("second")
        sentences.append(str(refused.value))
        assert (work / "onnx").read_text() == "the first one's"
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "run_worker", worker)
    for _ in range(2):  # the first one has let go
        with pytest.raises(KeyboardInterrupt):
            into("first")
    assert sentences == 2 * [
        f"{build}/work/net is in use by another conversion of this name; "
        "wait for it, or name another folder with --build"
    ]
    assert list((build / "work").iterdir()) == []
    assert (build / "logs" / "convert-net.log").read_text() == "what a framework said"


def gathered(spec, work):
    """What a worker does first: gather the original's files."""
    (work / "original").mkdir(parents=True)
    make_bundle(spec, work / "original")


@pytest.fixture
def other(spec, affine, tmp_path):
    """A repository with releases 1 and 2 of a model called other, 2 served."""
    repository = Repository(tmp_path / "repository")
    with repository.locked():
        for _ in range(2):
            release(repository, replace(spec, name="other"), affine)
    return repository


def test_another_model_is_rolled_back_while_a_conversion_searches(net, other, tmp_path, monkeypatch, capsys):
    def worker(*_):
        assert main(["rollback", "other", "--repository", str(other.root), "--server", "none"]) == 0
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "run_worker", worker)
    with pytest.raises(KeyboardInterrupt):
        convert(net, other, build_folder=tmp_path / "build", report=lambda _: None)
    assert capsys.readouterr().out == "other: release 1 is served\n"


def test_what_was_published_during_the_search_is_not_published_once_more(net, affine, tmp_path, monkeypatch):
    repository = Repository(tmp_path / "repository")
    told = []

    def worker(_task, work, *_):
        """Somebody else converts the same, with a build folder of his own, and one is killed while it stages."""
        gathered(net, work)
        with repository.locked():
            release(repository, net, affine, fingerprint=fingerprint(net)[0])
            repository.stage("net")
        return {}

    monkeypatch.setattr(pipeline, "run_worker", worker)
    monkeypatch.setattr(pipeline, "settle", lambda *_, **__: None)
    monkeypatch.setattr(pipeline, "_ready", lambda *_: None)
    monkeypatch.setattr(pipeline, "_publish", lambda *_, **__: pytest.fail("published once more"))
    outcome = convert(net, repository, build_folder=tmp_path / "build", report=told.append)
    assert (outcome.version, outcome.unchanged, outcome.served) == (1, True, 1)
    assert not (tmp_path / ".repository-staging" / "staged" / "net").exists()


def test_weights_that_are_saved_while_it_starts_are_those_that_the_release_tells_of(net, affine, tmp_path, monkeypatch):
    """They are hashed before another publisher is waited for, and copied after it."""
    repository, weights, saved = Repository(tmp_path / "repository"), net.folder / "net.keras", ["saved anew"]

    def worker(_task, work, *_):
        if saved:
            weights.write_text(saved.pop())
        gathered(net, work)
        return {}

    def published(spec, repository, _ready, *, digest, sources, **_):
        assert sources == {"net.keras": sha256_file(tmp_path / "build/work/net/original/source/net.keras")}
        return release(repository, spec, affine, fingerprint=digest)

    monkeypatch.setattr(pipeline, "run_worker", worker)
    monkeypatch.setattr(pipeline, "_publish", published)
    for name in ("settle", "_ready"):
        monkeypatch.setattr(pipeline, name, lambda *_, **__: None)

    def converted():
        outcome = convert(net, repository, build_folder=tmp_path / "build", report=lambda _: None)
        return outcome.version, outcome.unchanged

    assert converted() == (1, False)
    assert converted() == (1, True)  # it holds what is there now
    weights.write_text("weights")
    assert converted() == (2, False)


def test_a_conversion_that_is_ready_waits_for_another_publisher(tmp_path):
    """Its search took minutes."""
    repository, told = Repository(tmp_path / "repository"), []
    with ThreadPoolExecutor(1) as pool:
        with repository.locked():
            waiting = pool.submit(held, Repository(repository.root), told)
            with pytest.raises(TimeoutError):
                waiting.result(0.7)
        waiting.result(5)
    assert told == [f"waiting for process {os.getpid()}, which publishes to {repository.root}", "held"]
    with repository.locked(), pytest.raises(RepositoryLocked), Repository(repository.root).locked(0.3):
        pass


def held(repository, told):
    with repository.locked(20, told.append):
        told.append("held")


def test_it_publishes_with_the_repository_locked_and_searches_without(net, tmp_path, monkeypatch):
    repository, seen = Repository(tmp_path / "repository"), []

    def locked(step):
        def run(*_, **__):
            try:
                with Repository(repository.root).locked():
                    seen.append((step, False))
            except RepositoryLocked:
                seen.append((step, True))
            return 1

        return run

    for name in ("run_worker", "settle", "_ready", "_publish", "read_evidence"):
        monkeypatch.setattr(pipeline, name, locked(name))
    convert(net, repository, build_folder=tmp_path / "build", report=lambda _: None)
    assert seen == [
        ("run_worker", False),
        ("settle", False),
        ("_ready", False),
        ("_publish", True),
        ("read_evidence", True),
    ]


class Search:
    """A conversion of 'net', release 1 of which a server serves; `after` the search is what the server does then."""

    def __init__(self, net, affine, tmp_path, monkeypatch):
        self.repository = released(tmp_path / "repository", net, affine)
        self.server = serving(self.repository)
        self.told, self.pauses, self.build = [], [], tmp_path / "build"
        self.up = True
        self.runs = True
        self.after = lambda: None
        self.paused = lambda: None
        self._net = net
        versions = self.server.versions

        def asked(model):
            if not self.up:
                raise PublishError("the server at 127.0.0.1:1 did not list its models: no Triton answers")
            return versions(model)

        def searched(_task, work, *_):
            work.mkdir(parents=True)
            self.after()
            return {}

        def published(spec, repository, _ready, *, live, **_):
            return release(repository, spec, affine, live=live)

        def paused(_seconds):
            self.pauses.append(len(self.told))
            with Repository(self.repository.root).locked():
                self.paused()

        monkeypatch.setattr(self.server, "versions", asked)
        for name, stand_in in (("run_worker", searched), ("_publish", published)):
            monkeypatch.setattr(pipeline, name, stand_in)
        for name in ("settle", "_ready"):
            monkeypatch.setattr(pipeline, name, lambda *_, **__: None)
        monkeypatch.setattr(pipeline, "time", SimpleNamespace(sleep=paused, monotonic=time.monotonic))

    def run(self):
        return convert(
            self._net, self.repository, build_folder=self.build, report=self.told.append, find_live=self.found
        )

    def found(self):
        return live(self.server) if self.runs else None

    def serves(self, version):
        return all(versions == [version] for versions in self.server.ready.values())

    def ends(self):
        self.up = self.runs = False

    def comes(self):
        self.up = self.runs = True


@pytest.fixture
def search(net, affine, tmp_path, monkeypatch):
    monkeypatch.setattr("conversion.publishing.live_replay._PAUSES", (0.0,))
    return Search(net, affine, tmp_path, monkeypatch)


@pytest.mark.parametrize("known", [True, False], ids=["it does not answer", "nothing tells of it"])
def test_a_server_that_is_started_again_when_the_search_ends_is_waited_for(search, known):
    """In which anybody else can publish: the fixture takes the lock in each pause."""

    def after():
        search.up, search.runs = False, known

    def paused():
        if len(search.pauses) == 3:
            search.comes()

    search.after, search.paused = after, paused
    outcome = search.run()
    assert (outcome.version, outcome.live is not None) == (2, True)
    assert search.serves(2)
    who = "127.0.0.1:1" if known else "the server that ran before"
    assert search.told.count(f"waiting for {who}: it does not answer") == 1
    assert len(search.pauses) == 3


def test_a_server_that_was_started_during_the_search_is_told(search):
    search.ends()
    search.after = search.comes
    outcome = search.run()
    assert (outcome.version, outcome.live is not None) == (2, True)
    assert search.serves(2)
    assert search.pauses == []


def test_a_server_that_came_while_the_files_were_written_is_told_too(search, monkeypatch):
    """It may have looked at them before."""
    search.ends()
    publish = pipeline._publish

    def published(*given, **named):
        version = publish(*given, **named)
        search.comes()
        return version

    monkeypatch.setattr(pipeline, "_publish", published)
    outcome = search.run()
    assert (outcome.version, outcome.live is not None) == (2, True)
    assert search.serves(2)


def test_one_that_ends_while_another_publisher_is_waited_for_is_waited_for_too(search, monkeypatch):
    locked, held = search.repository.locked, []

    def late(*given):
        held.append(given)
        if len(held) == 2:
            search.ends()
        return locked(*given)

    def paused():
        search.comes()

    monkeypatch.setattr(search.repository, "locked", late)
    search.paused = paused
    assert search.run().live is not None
    assert search.serves(2)


@pytest.fixture
def impatient(monkeypatch):
    """Its minute is a moment."""
    monkeypatch.setattr(pipeline, "_SERVER_PATIENCE_S", 0.1)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_gone_for_good_leaves_a_release_in_the_files(search):
    search.after = search.ends
    outcome = search.run()
    assert (outcome.version, outcome.live) == (2, None)
    assert search.repository.served("net") == 2
    assert search.serves(1)
    assert search.pauses


@pytest.mark.usefixtures("impatient")
def test_a_server_that_was_named_and_never_answers_again_ends_it(search):
    def after():
        search.up = False

    search.after = after
    with pytest.raises(PublishError, match="did not list its models: no Triton answers"):
        search.run()
    assert search.repository.releases("net") == [1]
    assert list((search.build / "work").iterdir()) == []


def test_where_no_server_ran_none_is_waited_for(search):
    search.ends()
    outcome = search.run()
    assert (outcome.version, outcome.live, search.pauses) == (2, None, [])


def test_who_waits_for_a_server_can_be_interrupted(search):
    def paused():
        raise KeyboardInterrupt

    search.after, search.paused = search.ends, paused
    with pytest.raises(KeyboardInterrupt):
        search.run()
    assert search.repository.releases("net") == [1]
    assert list((search.build / "work").iterdir()) == []
    with search.repository.locked():
        pass


def test_a_rollback_tells_a_server_that_came_while_it_wrote_the_files(spec, affine, tmp_path, monkeypatch, capsys):
    repository = released(tmp_path / "repository", spec, affine, releases=2)
    server, found = serving(repository), []

    def live_of(*_):
        found.append(repository.served(spec.name))
        return live(server) if len(found) == 2 else None

    monkeypatch.setattr("conversion.commands.releases.live_of", live_of)
    assert main(["rollback", spec.name, "--repository", str(repository.root)]) == 0
    assert found == [2, 1]
    assert all(versions == [1] for versions in server.ready.values())
    told = capsys.readouterr()
    assert told.out == f"{spec.name}: release 1 is served\n"
    assert "no server was told" not in told.err


def test_what_such_a_server_does_not_take_is_told_and_the_release_stays(search, monkeypatch):
    search.ends()
    publish = pipeline._publish

    def published(*given, **named):
        version = publish(*given, **named)
        search.runs = True  # and does not answer
        return version

    monkeypatch.setattr(pipeline, "_publish", published)
    told = []
    monkeypatch.setattr(
        search, "found", lambda: replace(live(search.server), report=told.append) if search.runs else None
    )
    assert search.run().version == 2
    assert search.repository.served("net") == 2
    assert told == ["the files are written, and the server at 127.0.0.1:1 did not list its models: no Triton answers"]
