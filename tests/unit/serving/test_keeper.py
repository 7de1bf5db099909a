"""A server that ends is started again, and not for ever. No server: what one would do."""

import contextlib
from pathlib import Path

import pytest

from serving.control import ModelStatus
from serving.errors import ServerFailed
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


def test_one_that_ended_before_it_was_looked_at_loads_what_it_was_to_load(lines, pauses):
    server = Server([])
    with pytest.raises(ServerFailed):
        Keeper(server, Telling(lines.append), Policy()).keep()
    assert server.restarts == [None] * 5
