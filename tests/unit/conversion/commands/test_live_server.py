"""A server of its own that does not come up: the machine's fault, or the release's."""

import pytest

from conversion.commands.live_server import rehearsal_server
from conversion.errors import RehearsalImpossible, ReleaseRefused
from serving import PortTaken, ServerFailed, ServerUnreachable, TritonServer


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "repository" / "net" / "1").mkdir(parents=True)
    (tmp_path / "repository" / "net" / "config.pbtxt").write_text('backend: "python"')
    return tmp_path / "repository"


def test_a_server_that_ends_before_it_loads_says_nothing_of_the_release(tmp_path, repository, monkeypatch):
    for part in ("bin/tritonserver", "backends/python/libtriton_python.so"):
        (tmp_path / "triton" / part).parent.mkdir(parents=True)
        (tmp_path / "triton" / part).write_text("#!/bin/sh\nexit 3\n")
        (tmp_path / "triton" / part).chmod(0o755)
    monkeypatch.setenv("UNDERSTUDY_TRITON", str(tmp_path / "triton"))
    with pytest.raises(RehearsalImpossible, match="ended with 3 while starting"), rehearsal_server(repository):
        pass


@pytest.mark.parametrize(
    ("error", "cause", "told"),
    [
        (PortTaken("http", 8000), None, RehearsalImpossible),
        # What has crashed one server is not to be loaded by the one that serves.
        (ServerFailed("ended with -11 while loading", "log"), ServerUnreachable("address", "gone"), ReleaseRefused),
    ],
)
def test_only_a_server_that_ended_while_it_loaded_refuses_the_release(repository, monkeypatch, error, cause, told):
    def start(_server):
        raise error from cause

    monkeypatch.setattr(TritonServer, "start", start)
    with pytest.raises(told), rehearsal_server(repository):
        pass
