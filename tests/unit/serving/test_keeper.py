"""A server that ends is started again, and not for ever. No server: what one would do."""

import contextlib
import errno
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from serving.control import ModelStatus
from serving.errors import NoRunDirectory, RepositoryError, ServerFailed, ServerUnreachable
from serving.stubs import Stub
from serving.watch import keeper as module
from serving.watch.care import Policy
from serving.watch.keeper import Keeper
from serving.watch.telling import Telling


class Server:
    """Ends each time that somebody waits for it, after as many looks as it is told to live for."""

    pid = 1
    repository = Path("nowhere")
    log_path = Path("log")

    def __init__(self, models):
        self.failures = {}
        self.untold = "the state file cannot be written"
        self.models = models
        self.looks = 0
        self.restarts = []

    def control(self):
        return contextlib.nullcontext(self)

    def index(self):
        self.looks += 1
        return [ModelStatus(name, 1, "READY", "") for name in self.models]

    def probe(self, *_):
        return 0.01

    def wait(self):
        before = self.looks
        while self.looks == before and self.models:
            pass
        return -9

    def restart(self, load):
        self.restarts.append(load)

    def log_tail(self):
        return ["the last line"]


@pytest.fixture
def lines():
    return []


@pytest.fixture
def pauses(monkeypatch):
    found = []
    monkeypatch.setattr(module.time, "sleep", found.append)
    return found


def test_it_is_started_again_with_what_it_served_after_longer_and_longer_pauses_and_then_no_more(lines, pauses):
    server = Server(["net", "net_onnx"])
    keeper = Keeper(server, Telling(lines.append), Policy(interval_s=0.0))
    with pytest.raises(ServerFailed, match=r"ended with -9, for the 6th time within 10 minutes(.|\n)*the last line"):
        keeper.keep()
    assert server.restarts == [("net", "net_onnx")] * 5
    assert pauses == [0.0, 1.0, 3.0, 7.0, 15.0]
    assert sum("ALARM: tritonserver ended with -9; it is started again" in line for line in lines) == 5
    assert sum("ALARM: the state file cannot be written" in line for line in lines) == 5


def test_one_that_ended_before_it_was_looked_at_loads_what_it_was_to_load(lines, pauses):
    server = Server([])
    with pytest.raises(ServerFailed):
        Keeper(server, Telling(lines.append), Policy()).keep()
    assert server.restarts == [None] * 5


def test_lines_that_cannot_be_written_end_nothing(pauses):
    """The terminal is gone, the disk full, or the reader of the pipe has ended."""
    server = Server(["net", "net_onnx"])

    def write(line):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises(ServerFailed, match="for the 6th time"):
        Keeper(server, Telling(write), Policy(interval_s=0.0)).keep()
    assert len(server.restarts) == 5


class Cramped(Server):
    """So many of its starts fail."""

    def __init__(self, models, times, error):
        super().__init__(models)
        self.times = times
        self.error = error

    def restart(self, load):
        super().restart(load)
        if len(self.restarts) <= self.times:
            raise self.error


FAILED_STARTS = pytest.mark.parametrize(
    ("error", "told"),
    [
        (NoRunDirectory(["/tmp does not take it (No space left on device)"]), "Triton's Python"),
        (OSError(errno.ENOSPC, "No space left on device"), "[Errno 28] No space"),
        (ServerFailed("ended with -9 while loading", Path("log"), ["a line", "and another"]), "tritonserver ended"),
        (ServerUnreachable("127.0.0.1:8001", "Deadline Exceeded"), "no Triton answers at 127.0.0.1:8001"),
        (RepositoryError(Path("nowhere"), "no such directory", "publish a model first"), "nowhere: no such directory"),
    ],
    ids=lambda value: type(value).__name__,
)


@FAILED_STARTS
def test_what_a_start_fails_for_is_waited_for_as_long_as_a_server_that_ends(lines, pauses, error, told):
    server = Cramped(["net"], 2, error)
    with pytest.raises(ServerFailed, match="ended with -9, for the 6th time within 10 minutes"):
        Keeper(server, Telling(lines.append), Policy(interval_s=0.0)).keep()
    assert server.restarts == [("net",)] * 5
    assert pauses == [0.0, 1.0, 3.0, 7.0, 15.0]
    assert sum(f"ALARM: tritonserver could not be started again: {told}" in line for line in lines) == 2
    assert not [line for line in lines if "\n" in line]


@FAILED_STARTS
def test_what_the_last_start_failed_for_is_told_at_the_end(lines, pauses, error, told):
    server = Cramped(["net"], 9, error)
    with pytest.raises(type(error)) as raised:
        Keeper(server, Telling(lines.append), Policy(interval_s=0.0)).keep()
    assert raised.value is error
    assert len(server.restarts) == 5


def test_it_can_be_stopped_while_it_waits_for_another_start(lines, monkeypatch):
    def interrupted(pause_s):
        if pause_s:
            raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", interrupted)
    server = Cramped(["net"], 9, ServerFailed("ended with -9 while loading", Path("log")))
    with pytest.raises(KeyboardInterrupt):
        Keeper(server, Telling(lines.append), Policy(interval_s=0.0)).keep()
    assert len(server.restarts) == 1


def test_starts_that_fail_more_slowly_than_six_times_in_ten_minutes_are_tried_as_long_as_it_takes(
    lines, pauses, monkeypatch
):
    now = iter(range(0, 10**9, 100))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(now), sleep=pauses.append))
    server = Cramped(["net"], 2000, ServerFailed("did not become live within 360 s", Path("log")))
    keeper = Keeper(server, Telling(lines.append), Policy())
    keeper._start_again("ended with -9", ["net"])
    assert len(server.restarts) == 2001


class Dying:
    """The processes of a server whose hybrid, or twin, dies as soon as somebody looks."""

    left = 0
    name = "net"

    def __init__(self, server_pid):
        self.told = False

    def kept(self, name):
        return [7]

    def died(self, *, in_passing):
        told, self.told = self.told, True
        return frozenset() if told else frozenset({Stub(self.name, 1, 7)})


class Mortal(Server):
    """Ends when it is killed, or when a model was loaded anew: the test is over then."""

    def __init__(self, models):
        super().__init__(models)
        self.reloaded = []
        self.ended = threading.Event()
        self.status = None

    def reload(self, name):
        self.reloaded.append(name)
        self.status = 0
        self.ended.set()

    def kill(self):
        self.status = -9
        self.ended.set()

    def wait(self):
        self.ended.wait(10)
        self.ended.clear()
        if self.status == 0:
            raise KeyboardInterrupt
        return self.status


def kept(monkeypatch, lines, dies, **options):
    """A server whose model dies again and again, until one is loaded anew."""
    monkeypatch.setattr(module, "Stubs", type("Stubs", (Dying,), {"name": dies}))
    server = Mortal(["net", "net_onnx"])
    with pytest.raises(KeyboardInterrupt):
        Keeper(server, Telling(lines.append), Policy(interval_s=600.0), **options).keep()
    return server


def test_a_dead_hybrid_takes_the_server_with_it_where_that_is_wanted_twice_and_is_loaded_anew_then(
    monkeypatch, lines, pauses
):
    server = kept(monkeypatch, lines, "net", restart_for_hybrids=True)
    assert len(server.restarts) == 2
    assert server.reloaded == ["net"]
    told = "ALARM: tritonserver was ended for net: its stub process has died; it is started again"
    assert sum(told in line for line in lines) == 2


@pytest.mark.parametrize(("dies", "options"), [("net", {}), ("net_onnx", {"restart_for_hybrids": True})])
def test_a_dead_hybrid_is_loaded_anew_unless_told_otherwise_and_a_twin_always(
    monkeypatch, lines, pauses, dies, options
):
    server = kept(monkeypatch, lines, dies, **options)
    assert server.restarts == []
    assert server.reloaded == [dies]
