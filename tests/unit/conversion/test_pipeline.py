"""Two conversions of one name at a time, into two repositories."""

from dataclasses import replace

import pytest

from conversion import pipeline
from conversion.errors import PublishError
from conversion.pipeline import convert
from conversion.repository import Repository


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
