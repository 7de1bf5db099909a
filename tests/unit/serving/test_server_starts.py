"""A start that meets a load that hangs, or Ctrl-C. No Triton: what one would do."""

import contextlib
import os
import threading
from types import SimpleNamespace

import pytest

from serving import server as module
from serving.errors import (
    LoadFailed,
    LoadHangs,
    NoRunDirectory,
    RepositoryError,
    ServerFailed,
    StateNotWritten,
    StateTaken,
)
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

    monkeypatch.setattr("serving.loads.wait_for", interrupted)
    server = TritonServer(repository)
    server._launched = SimpleNamespace(process=SimpleNamespace(pid=1), stop=lambda _: ended.set())
    loads = SimpleNamespace(load=lambda _: ended.wait(20) or pytest.fail("the load was waited for"))
    monkeypatch.setattr(server, "control", lambda: contextlib.nullcontext(loads))
    with pytest.raises(KeyboardInterrupt):
        server._load_models([["well"]], idle_ends=True, strict=True)
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

    def _load_models(self, stages, *, idle_ends, strict):
        pass


@pytest.fixture
def launched(tmp_path, monkeypatch):
    process = SimpleNamespace(pid=os.getpid())
    ports = {"http": 1, "grpc": 2, "metrics": 3}
    one = SimpleNamespace(process=process, ports=ports, log_path=tmp_path / "log", embedded=True, stop=lambda _: None)
    monkeypatch.setattr(module, "launch", lambda _: one)


class Triton:
    """Loads what a model's configuration says at that moment. `events` happen each after so many loads."""

    def __init__(self, repository, events):
        self.repository = repository
        self.events = events
        self.loaded, self.names, self.refuses = {}, [], ()

    def load(self, name):
        pin = (self.repository / name / "config.pbtxt").read_text().rpartition("# ")[2]
        self.names.append(name)
        for event in self.events.get(len(self.names), ()):
            event(self)
        if pin in self.refuses:
            raise LoadFailed(name, f"release {pin} is broken")
        self.loaded[name] = pin


@pytest.fixture
def released(tmp_path):
    """Release 2 of a hybrid and its twins is served; gives what serves another one, without a server to tell."""
    root = tmp_path / "released"

    def pin(version, name="net"):
        for role in ("_onnx", "", "_original"):
            (root / f"{name}{role}").mkdir(parents=True, exist_ok=True)
            config = 'backend: "python"'
            for key, twin in (("primary_model", "_onnx"), ("fallback_model", "_original")):
                config += f' parameters {{ key: "{key}" value: {{ string_value: "{name}{twin}" }} }}' * (not role)
            partial = root / f"{name}{role}.partial"
            partial.write_text(f"{config} # {version}")
            partial.replace(root / f"{name}{role}" / "config.pbtxt")

    pin(2)
    return root, pin


@pytest.fixture
def started(released, launched, monkeypatch):
    """Starts a server with a Triton to which `events` happen; gives both."""
    monkeypatch.setattr("serving.loads._LOADERS", 1)

    def start(events, refuses=(), **options):
        triton = Triton(released[0], events)
        triton.refuses = refuses
        server = TritonServer(released[0], **options)
        server.control = lambda: contextlib.nullcontext(triton)
        server.start()
        return server, triton

    return start


def all_at(version, name="net"):
    return {f"{name}{role}": version for role in ("", "_onnx", "_original")}


def test_without_a_change_each_model_is_loaded_once(started):
    server, triton = started({})
    assert triton.names == ["net_onnx", "net_original", "net"]
    assert server.failures == {}


@pytest.mark.parametrize("after", [1, 2, 3])
def test_what_is_rolled_back_while_a_server_starts_is_served_by_all_three_at_its_end(
    released, started, tmp_path, after
):
    """Its publisher was told by no state file that a server is about to serve."""
    state = tmp_path / "server.json"
    there = []

    def roll_back(_):
        there.append(state.exists())
        released[1](1)

    _, triton = started({after: [roll_back], 4: [lambda _: there.append(state.exists())]}, state_path=state)
    assert triton.loaded == all_at("1")
    assert triton.names[3:] == ["net_onnx", "net", "net_original"], "each hybrid has a twin of its own at any moment"
    assert there == [False, True], "who publishes after the last look finds the server"


def test_what_changes_while_the_change_is_loaded_is_loaded_too(released, started):
    _, triton = started({1: [lambda _: released[1](1)], 4: [lambda _: released[1](3)], 9: [lambda _: released[1](1)]})
    assert triton.loaded == all_at("1")


def test_a_release_that_came_and_went_while_the_models_were_loaded_is_served_by_none(released, started):
    _, triton = started({1: [lambda _: released[1](3)], 3: [lambda _: released[1](2)]})
    assert triton.loaded == all_at("2")


def test_a_broken_release_that_was_rolled_back_meanwhile_has_not_failed(released, started):
    server, triton = started({3: [lambda _: released[1](1)]}, refuses=("2",), strict=False)
    assert triton.loaded == all_at("1")
    assert server.failures == {}


@pytest.mark.parametrize("strict", [True, False])
def test_a_broken_release_that_was_published_meanwhile_ends_no_server_that_serves(released, started, strict):
    """Its publisher may have found the server, and be about to undo it."""
    server, triton = started({3: [lambda _: released[1](3)]}, refuses=("3",), strict=strict)
    assert triton.loaded == all_at("2")
    assert server.failures == dict.fromkeys(all_at("2"), "release 3 is broken")


def test_what_is_published_for_the_first_time_meanwhile_is_loaded_where_all_are(released, started):
    _, triton = started({2: [lambda _: released[1](1, "other")]})
    assert triton.loaded == all_at("2") | all_at("1", "other")


def test_what_was_not_to_be_loaded_is_not_loaded_for_its_change(released, started):
    events = {1: [lambda _: released[1](1), lambda _: released[1](1, "other")]}
    _, triton = started(events, load=["net", "net_onnx"])
    assert triton.loaded == {"net": "1", "net_onnx": "1"}


def test_a_configuration_that_is_gone_is_not_asked_for(released, started):
    _, triton = started({3: [lambda _: (released[0] / "net" / "config.pbtxt").unlink()]})
    assert len(triton.names) == 3


def test_what_changed_and_hangs_then_is_left_out_where_the_others_may_serve_without_it(released, started, monkeypatch):
    real = module.load_together

    def hanging(names, load, *arguments, **options):
        changed = [one for one in names if (released[0] / one / "config.pbtxt").read_text().endswith("# 3")]
        if "net_onnx" in changed:
            raise LoadHangs("net_onnx", "died", 8.0)
        return real(names, load, *arguments, **options)

    monkeypatch.setattr(module, "load_together", hanging)
    server, triton = started({3: [lambda _: released[1](3)]}, strict=False)
    assert list(server.failures) == ["net_onnx"]
    assert triton.loaded["net"] == triton.loaded["net_original"] == "3"


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
