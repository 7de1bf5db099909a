"""A start that meets a load that hangs, or Ctrl-C. No Triton: what one would do."""

import contextlib
import os
import threading
from types import SimpleNamespace

import pytest

from serving import server as module
from serving.errors import LoadHangs, NoRunDirectory, RepositoryError, ServerFailed, StateNotWritten, StateTaken
from serving.server import TritonServer


@pytest.fixture
def repository(tmp_path):
    for name in ("well", "hangs", "hangs_too"):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "config.pbtxt").write_text('backend: "python"')
    return tmp_path


class Hanging(TritonServer):
    """Its starts hang as long as one of these is to be loaded."""

    started = ()

    def _start(self, stages, *, idle_ends, ahead=False):
        names = [name for stage in stages for name in stage]
        self.started = [*self.started, (names, idle_ends)]
        for name in names:
            if name.startswith("hangs"):
                raise LoadHangs(name, "died", 8.0)


def test_what_hangs_twice_is_left_out_where_the_others_may_serve_without_it(repository):
    server = Hanging(repository, strict=False)
    server.start()
    assert server.started == [
        (["hangs", "hangs_too", "well"], True),
        (["hangs", "hangs_too", "well"], False),
        (["hangs_too", "well"], False),
        (["well"], False),
    ]
    assert list(server.failures) == ["hangs", "hangs_too"]
    assert "a process of it died" in server.failures["hangs"]


def test_where_all_are_wanted_it_ends_the_start(repository):
    server = Hanging(repository)
    with pytest.raises(LoadHangs, match="'hangs'"):
        server.start()
    assert [idle_ends for _, idle_ends in server.started] == [True, False]


def test_the_launch_is_told_which_models_will_be_loaded(repository, monkeypatch):
    orders = []

    def launched(order):
        orders.append(order)
        raise ServerFailed("ended with 1", order.repository / "log")

    monkeypatch.setattr(module, "launch", launched)
    for load, names in ((None, ["hangs", "hangs_too", "well"]), (["well", "auto"], ["well"])):
        with pytest.raises(ServerFailed):
            TritonServer(repository, load=load).start()
        assert [one.name for one in orders[-1].models] == names
        assert orders[-1].ahead == []


def test_ctrl_c_does_not_wait_for_the_loads_under_way(repository, monkeypatch):
    ended = threading.Event()

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "wait_for", interrupted)
    server = TritonServer(repository)
    server._launched = SimpleNamespace(process=SimpleNamespace(pid=1), stop=lambda _: ended.set())
    loads = SimpleNamespace(load=lambda _: ended.wait(20) or pytest.fail("the load was waited for"))
    monkeypatch.setattr(server, "control", lambda: contextlib.nullcontext(loads))
    with pytest.raises(KeyboardInterrupt):
        server._load_models([["well"]], idle_ends=True)
    assert ended.is_set()


def test_a_configuration_that_does_not_parse_keeps_no_other_model_from_serving(repository):
    (repository / "torn").mkdir()
    (repository / "torn" / "config.pbtxt").write_text("x {")
    (repository / "hangs" / "config.pbtxt").unlink()
    (repository / "hangs_too" / "config.pbtxt").unlink()
    server = Hanging(repository, strict=False)
    server.start()
    assert server.started == [(["well"], True)]
    assert "torn/config.pbtxt: not a model configuration" in server.failures["torn"]
    Hanging(repository, load=["well"]).start()
    with pytest.raises(RepositoryError, match="torn"):
        Hanging(repository).start()


class Launching(TritonServer):
    """Its server is this process, and has nothing to load."""

    def _load_models(self, stages, *, idle_ends):
        pass


@pytest.fixture
def launched(tmp_path, monkeypatch):
    process = SimpleNamespace(pid=os.getpid())
    ports = {"http": 1, "grpc": 2, "metrics": 3}
    one = SimpleNamespace(process=process, ports=ports, log_path=tmp_path / "log", embedded=True, stop=lambda _: None)
    monkeypatch.setattr(module, "launch", lambda _: one)


def test_a_state_file_that_cannot_be_written_ends_a_start(repository, launched, tmp_path):
    (tmp_path / "server.json").mkdir()
    with pytest.raises(StateNotWritten):
        Launching(repository, state_path=tmp_path / "server.json").start()


def test_a_state_file_that_cannot_be_written_again_does_not_end_a_server_that_is_back(repository, launched, tmp_path):
    state = tmp_path / "server.json"
    with Launching(repository, state_path=state) as server:
        state.unlink()
        state.mkdir()
        server.restart()
        assert "server.json cannot be written (Is a directory)" in server.untold
        state.rmdir()
        server.restart()
        assert server.untold == ""
        assert state.is_file()


def test_a_restart_that_the_machine_has_no_room_for_may_be_tried_again(repository, launched, monkeypatch):
    launch, orders = module.launch, []

    def full(order):
        orders.append(order)
        raise NoRunDirectory(["/tmp does not take it (No space left on device)"])

    with Launching(repository) as server:
        monkeypatch.setattr(module, "launch", full)
        for _ in range(2):
            with pytest.raises(NoRunDirectory):
                server.restart()
        monkeypatch.setattr(module, "launch", launch)
        server.restart()
        assert server.grpc_url == "127.0.0.1:2"
    assert [order.ports["grpc"] for order in orders] == [2, 2]


def test_a_server_whose_state_file_is_anothers_is_not_begun(repository, launched, tmp_path):
    state = tmp_path / "server.json"
    with Launching(repository, state_path=state):
        another = Hanging(repository, strict=False, state_path=state)
        with pytest.raises(StateTaken, match=f"process {os.getpid()}"):
            another.start()
        assert another.started == ()
    another.start()
