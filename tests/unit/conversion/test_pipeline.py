"""Conversions beside others: of one name, into one repository, and beside who rolls back."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from conversion import pipeline
from conversion.__main__ import main
from conversion.errors import PublishError, RepositoryLocked
from conversion.pipeline import convert
from conversion.publishing.repository import Repository
from conversion.release.fingerprint import fingerprint

from .released import release


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

    def worker(*_):
        """Somebody else converts the same, with a build folder of his own, and one is killed while it stages."""
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
