"""When a model is loaded anew, and what is told of it: a server that does as it is told, and a clock that is moved."""

import errno
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from python_backend.hybrid import breaker
from python_backend.hybrid.errors import BothFailed, DeadlinePassed, Overloaded, RowsRefused, TwinFailed
from serving.control import ModelStatus
from serving.errors import LoadFailed, ModelNotFound, ProbeFailed, RepositoryUnreadable, ServerUnreachable
from serving.stubs import UNNAMED, Stub, Stubs
from serving.watch.care import HANGS, LONGEST_PAUSE_S, Policy, is_dead
from serving.watch.repairs import in_a_thread
from serving.watch.rounds import Watch
from serving.watch.telling import Telling

DEAD = "Stub process 'net_onnx_0_0' is not healthy."
FULL = str(Overloaded("640 requests", "max_pending"))
QUEUE_FULL = "Exceeds maximum queue size"
BOTH_FULL = str(BothFailed(*(TwinFailed(twin, QUEUE_FULL, "full") for twin in ("onnx", "original"))))
BOTH_AWAY = str(BothFailed(*(TwinFailed(twin, f"'net_{twin}' is not ready", "gone") for twin in ("onnx", "original"))))
# One twin is dead, and the other one has too much to do.
CROWDED_OUT = str(
    DeadlinePassed(2.0, f"onnx: its circuit breaker is open, since {DEAD}; as many calls as may fall back do so")
)
GONE = ModelStatus("net", 1, "UNAVAILABLE", "unloaded")
POLICY = Policy(patience=3, enough=3)


class Server:
    """Models by name: None where it answers, else why not."""

    def __init__(self, **models):
        self.models = models
        self.states = {}
        self.heals = set(models)
        self.count = 0
        self.counts = False
        self.gone = False
        self.unreadable = False
        self.asked, self.reloaded = [], []

    def index(self):
        if self.gone:
            raise ServerUnreachable("127.0.0.1:1", "connection refused")
        if self.unreadable:
            raise RepositoryUnreadable("127.0.0.1:1", "failed to stat file /models/.#x")
        return [ModelStatus(name, 1, self.states.get(name, "READY"), "") for name in self.models]

    def ready(self, name, version):
        return name in self.models and self.states.get(name, "READY") == "READY"

    def answered(self, name):
        self.count += self.counts
        return self.count

    def probe(self, name, version=None, timeout_s=None, golden=None):
        self.asked.append((name, golden))
        if self.models[name]:
            raise ProbeFailed(name, self.models[name])
        return 0.01

    def reload(self, name):
        self.reloaded.append(name)
        if name not in self.heals:
            self.states[name] = "UNAVAILABLE"
            raise LoadFailed(name, "no such file")
        self.models[name] = None
        self.states[name] = "READY"


def dead(*names, version=1, pid=7):
    return frozenset(Stub(name, version, pid) for name in names)


class Deaths:
    """Process 7 serves; each look tells of the next deaths."""

    left = 0

    def __init__(self, *deaths):
        self.deaths = list(deaths)

    def died(self, *, in_passing):
        return self.deaths.pop(0) if self.deaths else frozenset()

    def kept(self, name):
        return [7]


class Watched:
    def __init__(self, server, *, write=None, **options):
        self.lines, self.now = [], 100.0
        self.registry = CollectorRegistry()
        telling = Telling(write or (lambda line: self.lines.append(line.partition(" ")[2])), self.registry)
        self.watch = Watch(
            server, telling, policy=POLICY, clock=lambda: self.now, **{"aside": lambda task: task(), **options}
        )

    def look(self, times=1, pause_s=3.0):
        for _ in range(times):
            found = self.watch.look()
            self.now += pause_s
        return found

    def run_twice(self):
        """Two rounds as they follow by themselves, ten seconds apart."""
        rounds = iter([False, False, True])

        def wait(seconds):
            self.now += 10
            return next(rounds)

        self.watch.run(SimpleNamespace(wait=wait))

    def value(self, name, **labels):
        return self.registry.get_sample_value(f"understudy_watch_{name}", labels)


def test_well_models_are_asked_and_left_alone():
    server = Server(net=None, net_onnx=None)
    watched = Watched(server)
    assert watched.look(2)
    assert server.reloaded == []
    assert watched.lines == ["watching net, net_onnx"]
    assert watched.value("probes_total", model="net", outcome="ok") == 2
    assert watched.value("server_up") == 1


def test_a_dead_model_is_loaded_anew_at_once():
    server = Server(net=None, net_onnx=DEAD)
    watched = Watched(server)
    assert not watched.look()
    assert server.reloaded == ["net_onnx"]
    assert watched.look()
    assert watched.lines[1:] == [
        f"net_onnx does not answer: {DEAD}",
        "unloading and loading net_onnx",
        "net_onnx is back, after 0.0 s",
    ]
    assert watched.value("repairs_total", model="net_onnx", outcome="repaired") == 1


def test_repairs_are_counted_from_0_on_so_that_prometheus_sees_the_first_one():
    watched = Watched(Server(net=None, net_onnx=None))
    watched.look()
    counts = [
        watched.value("repairs_total", model=model, outcome=outcome)
        for model in ("net", "net_onnx")
        for outcome in ("repaired", "failed")
    ]
    assert counts == [0, 0, 0, 0]


def test_a_dead_model_is_loaded_anew_also_where_nothing_can_be_told_of_it():
    """The disk that holds the lines is full."""
    server = Server(net=None, net_onnx=DEAD)
    watched = Watched(server, write=lambda line: (_ for _ in ()).throw(OSError(errno.ENOSPC, line)))
    watched.run_twice()
    assert server.reloaded == ["net_onnx"]
    assert watched.value("repairs_total", model="net_onnx", outcome="repaired") == 1
    assert watched.value("server_up") == 1


def test_a_process_that_was_seen_to_die_is_not_asked_first():
    server = Server(net=None, net_onnx=None)
    watched = Watched(server)
    watched.watch.mend(dead("net_onnx", "unloaded", "nobody"))
    assert server.reloaded == ["net_onnx"]
    assert server.asked == [("net_onnx", None)], "after it was loaded anew"
    assert watched.lines[0] == "net_onnx does not answer: its stub process has died"


def test_who_dies_while_a_busy_server_is_asked_is_mended_meanwhile_and_not_judged_by_that_answer():
    """The busy hybrid answers only when its twin is back; the dead twin's own answer comes late."""

    class Busy(Server):
        def probe(self, name, version=None, timeout_s=None, golden=None):
            if not self.reloaded:
                assert back.wait(10)
                if name == "net_onnx":
                    raise ProbeFailed(name, DEAD)
            return super().probe(name, version, timeout_s, golden)

        def reload(self, name):
            super().reload(name)
            back.set()

    back = threading.Event()
    server = Busy(net=None, net_onnx=None)
    watched = Watched(server, stubs=Deaths(dead("net_onnx")))
    assert watched.watch.look()
    assert server.reloaded == ["net_onnx"]


def test_a_model_that_died_once_and_is_too_busy_to_answer_the_watch_when_it_is_back_is_loaded_once():
    """At the peak callers come back before the probe does, and a look lasts longer than the pause after a repair."""

    class Peak(Server):
        def probe(self, name, version=None, timeout_s=None, golden=None):
            if name == "slow" and not watched.now > 100:
                assert back.wait(10)
                watched.now += 5
            return super().probe(name, version, timeout_s, golden)

        def reload(self, name):
            super().reload(name)
            self.models[name] = QUEUE_FULL
            back.set()

    back = threading.Event()
    server = Peak(net=None, slow=None)
    watched = Watched(server, stubs=Deaths(dead("net")))
    watched.look()
    assert server.reloaded == ["net"]
    server.counts = True
    watched.look(9)
    assert server.reloaded == ["net"]
    assert watched.lines[1:] == [
        "net does not answer: its stub process has died",
        "unloading and loading net",
        f"net could not be brought back: {QUEUE_FULL}",
    ]


@pytest.mark.parametrize(("reason", "repairs"), [(DEAD, 2), ("shape mismatch", 1)])
def test_what_was_loaded_anew_is_loaded_again_at_once_where_it_is_dead_and_given_time_where_it_fails_otherwise(
    reason, repairs
):
    server = Incurable(net=reason)
    watched = Watched(server)
    while not server.reloaded:
        watched.look()
    watched.look()
    assert len(server.reloaded) == repairs
    watched.look(6)
    assert watched.value("given_up", model="net") == 1


def test_processes_that_died_are_told_of_once_and_those_that_were_ended_are_not(tmp_path):
    """A server with three children: /proc as the kernel shows it."""

    def child(pid, state, model, *, code=9, comm="triton_python_b"):
        (tmp_path / pid).mkdir(exist_ok=True)
        after_parent = " 0" * 47
        (tmp_path / pid / "stat").write_text(f"{pid} (triton (x) stub) {state} 1{after_parent} {code}")
        file = "model.onnx" if model.endswith("_onnx") else "model.py"
        (tmp_path / pid / "cmdline").write_text(f"/stub\0/r/{model}/3/{file}\0region\0" if model else "")
        (tmp_path / pid / "comm").write_text(f"{comm}\n")

    children = tmp_path / "1" / "task" / "7" / "children"
    children.parent.mkdir(parents=True)
    children.write_text("10 11 12 ")
    for pid, model in (("10", "net"), ("11", "net_onnx"), ("12", "net_onnx")):
        child(pid, "S", model)
    stubs = Stubs(1, tmp_path)
    assert stubs.died() == frozenset()
    assert (stubs.of("net"), stubs.of("net_onnx"), stubs.of("onnx")) == ([10], [11, 12], [])
    child("12", "Z", "")
    assert (stubs.of("net_onnx"), stubs.kept("net_onnx")) == ([11], [11, 12])
    assert stubs.died() == {Stub("net_onnx", 3, 12)}
    assert stubs.died() == frozenset()
    assert stubs.left == 1
    child("10", "Z", "", code=0)
    assert stubs.died() == frozenset(), "Triton may have ended 10, and be about to take it away"
    children.write_text("11 12 ")
    assert stubs.died() == frozenset(), "and so it was"
    assert (stubs.kept("net"), stubs.kept("net_onnx")) == ([], [11, 12])
    child("11", "Z", "", code=0)
    assert stubs.died() == frozenset()
    assert stubs.died() == {Stub("net_onnx", 3, 11)}, "nobody takes 11 away"
    children.write_text("12 13 14 ")
    child("13", "Z", "")
    child("14", "Z", "", comm="tritonserver")
    assert stubs.died() == {Stub(UNNAMED, 0, 13)}, "13 lived between two looks"
    assert stubs.died() == frozenset()
    assert stubs.left == 2


def test_a_look_in_passing_reads_no_list_but_the_first_threads_for_a_second(tmp_path):
    def child(pid, state):
        (tmp_path / pid).mkdir(exist_ok=True)
        (tmp_path / pid / "stat").write_text(f"{pid} (stub) {state} 1{' 0' * 47} 9")
        if state == "S":
            (tmp_path / pid / "cmdline").write_text(f"/stub\0/r/net_{pid}/1/model.py\0")

    def listed(thread, children):
        (tmp_path / "1" / "task" / thread).mkdir(parents=True, exist_ok=True)
        (tmp_path / "1" / "task" / thread / "children").write_text(children)

    now = 0.0
    stubs = Stubs(1, tmp_path, clock=lambda: now)
    for pid in ("10", "11", "12", "13"):
        child(pid, "S")
    listed("1", "10 ")
    listed("7", "11 ")
    assert stubs.died(in_passing=True) == frozenset(), "the first look reads them all"
    listed("1", "10 12 ")
    listed("7", "11 13 ")
    now = 0.9
    assert stubs.died(in_passing=True) == frozenset()
    for pid in ("10", "11", "12", "13"):
        child(pid, "Z")
        (tmp_path / pid / "cmdline").write_text("")
    assert {one.pid for one in stubs.died(in_passing=True)} == {10, 11, 12}, "13 is another thread's, and new"
    (tmp_path / "13" / "comm").write_text("triton_python_b\n")
    assert stubs.died(in_passing=True) == frozenset()
    now = 1.1
    assert stubs.died(in_passing=True) == {Stub(UNNAMED, 0, 13)}
    assert stubs.left == 4
    listed("1", "")
    listed("7", "13 ")
    assert stubs.died() == frozenset()
    assert stubs.left == 1


def test_what_dead_processes_leave_is_counted_and_many_are_a_reason_to_call_somebody():
    server = Server(net=None)
    left = Deaths()
    left.left = 7
    watched = Watched(server, stubs=left)
    watched.look()
    assert watched.value("dead_processes") == 7
    left.left = 8
    watched.look(3)
    assert [line for line in watched.lines if "ALARM" in line] == [
        "ALARM: the server keeps 8 dead processes and their shared memory: restart it in time"
    ]


def test_twins_are_loaded_before_their_hybrid():
    server = Server(net=DEAD, net_onnx=DEAD, net_original=DEAD)
    Watched(server).look()
    assert server.reloaded == ["net_onnx", "net_original", "net"]


class Hanging(Server):
    """Its loads end when they are let go."""

    def __init__(self, hang, **models):
        super().__init__(**models)
        self.hang, self.let_go = hang, threading.Event()
        self.began = {name: threading.Event() for name in models}

    def reload(self, name):
        self.began[name].set()
        if name in self.hang:
            self.states[name] = "LOADING"
            assert self.let_go.wait(10)
        super().reload(name)


def until(true):
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_while_a_load_hangs_other_models_are_looked_after():
    server = Hanging({"net_onnx"}, net=None, net_onnx=None, net_original=None, other=None)
    watched = Watched(server, aside=in_a_thread)
    watched.look()
    server.models["net_onnx"] = DEAD
    assert not watched.look()
    assert server.began["net_onnx"].wait(10)
    server.models["other"] = DEAD
    assert not watched.look(), "one is being loaded anew, and another one is dead"
    until(lambda: "other is back, after 0.0 s" in watched.lines)
    watched.watch.mend(dead("net"))
    # One of its twins was there all the time.
    until(lambda: "net is back, after 0.0 s" in watched.lines)
    assert watched.watch.serving == ("net", "net_onnx", "net_original", "other")
    server.let_go.set()
    until(lambda: server.reloaded == ["other", "net", "net_onnx"])
    until(watched.watch.look)


def test_a_hybrid_is_loaded_when_one_of_its_twins_is_back():
    server = Hanging({"net_original", "net_onnx"}, net=DEAD, net_onnx=DEAD, net_original=DEAD)
    watched = Watched(server, aside=in_a_thread)
    watched.look()
    assert server.began["net_onnx"].wait(10)
    assert not server.began["net"].wait(0.05)
    server.hang.clear()
    server.let_go.set()
    assert server.began["net"].wait(10)
    until(watched.watch.look)


@pytest.mark.parametrize("seen", [True, False])
def test_a_hybrid_does_not_wait_for_the_one_twin_that_is_looked_after_while_the_other_one_serves(seen):
    server = Hanging({"net_onnx"}, net=None, net_onnx=DEAD, net_original=None)
    watched = Watched(server, aside=in_a_thread, only=frozenset({"net", "net_onnx"}))
    watched.look()
    assert server.began["net_onnx"].wait(10)
    if seen:
        watched.watch.mend(dead("net"))
    else:
        server.models["net"] = DEAD
        watched.look()
    assert server.began["net"].wait(5)
    server.let_go.set()


def test_what_is_loaded_while_the_list_is_under_way_is_served():
    """A server that ends before the next look is started again with it."""
    server = Hanging({"net"}, net=DEAD, other=None)
    watched = Watched(server, aside=in_a_thread)
    watched.look()
    assert server.began["net"].wait(10)

    def index():
        listed = Server.index(server)
        server.let_go.set()
        until(lambda: watched.lines[-1].startswith("net is back"))
        return listed

    server.index = index
    watched.look()
    assert watched.watch.serving == ("net", "other")


def told_while_it_hangs(server, watched, name, times=7):
    """The alarms of each of so many glances, five seconds apart, a minute after its load has begun."""
    told = []

    def wait(_):
        if not told:
            watched.watch.mend(dead(name))
            assert server.began[name].wait(10)
            watched.now += 60
        told.append([line for line in watched.lines if "ALARM" in line])
        assert watched.value("given_up", model=name) == (1 if told[-1] else None)
        watched.now += 5
        if len(told) == times:
            server.let_go.set()
        return len(told) == times

    watched.watch.run(SimpleNamespace(wait=wait))
    return told


@pytest.mark.parametrize("name", ["net", "net_onnx"])
@pytest.mark.parametrize("seen_alive", [True, False])
def test_a_load_that_waits_for_a_dead_process_is_an_alarm_and_a_hybrid_ends_the_server(name, seen_alive):
    """A server that has been started again too often of late is not ended: that is asked again, and told once."""
    ended, server = [], Hanging({name}, net=None, net_onnx=None)
    process = dead(name, pid=8) if seen_alive else dead(UNNAMED, version=0, pid=8)
    watched = Watched(
        server,
        aside=in_a_thread,
        stubs=Deaths(frozenset(), process),
        begin_anew=lambda *told: ended.extend([told] if HANGS in told else []) or False,
    )
    alarm = f"ALARM: {name} hangs while it loads, since a process of it died: only a new start of Triton ends that"
    assert told_while_it_hangs(server, watched, name) == [[], [], [], [], [], [], [alarm]]
    assert ended == ([("net", HANGS)] if name == "net" else [])


def test_what_ends_before_it_is_loaded_anew_says_nothing_of_the_load():
    """Both processes of a model die, a look apart: the second one is none that the load has begun."""
    server = Hanging({"net_onnx"}, net=None, net_onnx=None)
    watched = Watched(server, aside=in_a_thread, stubs=Deaths(frozenset(), dead("net_onnx", pid=7)))
    assert told_while_it_hangs(server, watched, "net_onnx") == [[]] * 7


def test_what_dies_just_before_it_is_loaded_anew_says_nothing_of_the_load(tmp_path):
    """The second process of a model dies after the look that saw the first one dead, and before it is unloaded."""

    def child(pid, state):
        (tmp_path / pid).mkdir(exist_ok=True)
        (tmp_path / pid / "stat").write_text(f"{pid} (stub) {state} 1{' 0' * 47} 9")
        (tmp_path / pid / "cmdline").write_text("/stub\0/r/net/1/model.py\0" if state == "S" else "")

    (tmp_path / "1" / "task" / "1").mkdir(parents=True)
    (tmp_path / "1" / "task" / "1" / "children").write_text("10 11 ")
    child("10", "S")
    child("11", "S")
    stubs = Stubs(1, tmp_path)
    stubs.died()
    ended, server = [], Hanging({"net"}, net=None)
    watched = Watched(
        server, aside=in_a_thread, stubs=stubs, begin_anew=lambda *told: ended.extend([told] if HANGS in told else [])
    )

    def index():
        child("11", "Z")
        return Server.index(server)

    server.index = index
    child("10", "Z")
    for _ in range(6):
        watched.watch._mend_the_dead()
        assert server.began["net"].wait(10)
        watched.now += 5
    server.let_go.set()
    assert ended == []


def test_a_process_that_was_stopped_and_dies_after_it_was_replaced_says_nothing_of_the_one_that_serves():
    server = Server(net=None, net_onnx=DEAD)
    watched = Watched(server, stubs=Deaths())
    watched.look()
    assert server.reloaded == ["net_onnx"]
    assert watched.watch.mend(dead("net_onnx", pid=7)) == frozenset()
    assert server.reloaded == ["net_onnx"]
    assert watched.watch.mend(dead("net_onnx", pid=8)) == {"net_onnx"}
    assert server.reloaded == ["net_onnx", "net_onnx"]


def test_a_process_that_dies_while_the_loaded_model_is_asked_is_no_load_that_hangs():
    """Nobody answers what a dead hybrid has taken on: the question lasts until its deadline."""
    asked = threading.Event()
    server = Hanging(set(), net=None, net_onnx=None)

    def probe(name, version=None, timeout_s=None, golden=None):
        asked.set()
        assert server.let_go.wait(10)
        raise ProbeFailed(name, "Deadline Exceeded")

    watched = Watched(server, aside=in_a_thread, stubs=Deaths(frozenset(), dead("net", pid=8)))
    watched.look()
    server.probe = probe
    watched.watch.mend(dead("net"))
    assert asked.wait(10)
    for _ in range(6):
        watched.watch._mend_the_dead()
        watched.now += 5
    assert not [line for line in watched.lines if "ALARM" in line]
    server.let_go.set()


def test_a_process_of_a_version_that_is_still_loading_is_none_of_the_one_that_serves():
    server = Server(net=None, net_onnx=None)
    watched = Watched(server)
    watched.watch.mend(dead("net_onnx", version=2))
    assert server.reloaded == []
    watched.watch.mend(dead("net_onnx", version=1))
    assert server.reloaded == ["net_onnx"]


def test_another_failure_is_given_time():
    server = Server(net="shape mismatch")
    watched = Watched(server)
    watched.look(2)
    assert server.reloaded == []
    watched.look()
    assert server.reloaded == ["net"]


def test_failures_have_to_come_in_a_row():
    server = Server(net="shape mismatch")
    watched = Watched(server)
    watched.look(2)
    server.models["net"] = None
    watched.look()
    server.models["net"] = "shape mismatch"
    watched.look(2)
    assert server.reloaded == []
    assert watched.lines.count("net answers again") == 1


def test_who_is_late_because_others_are_answered_is_busy_and_not_ill():
    server = Server(net="Deadline Exceeded")
    watched = Watched(server)
    watched.look()
    server.counts = True
    watched.look(8)
    assert server.reloaded == []
    assert watched.value("probes_total", model="net", outcome="busy") == 8
    server.counts = False
    watched.look(3)
    assert server.reloaded == ["net"]


class Asked(Server):
    """Counts as Triton does: what a model answered, the watch too, and also what a hybrid, `net`, refused.

    Between two looks `others` ask each model that often, and are answered.
    """

    def __init__(self, others, **models):
        super().__init__(**models)
        self.others, self.counted = others, dict.fromkeys(models, 0)

    def index(self):
        for name, times in self.others.items():
            self.counted[name] += times
        return super().index()

    def answered(self, name):
        return self.counted[name]

    def probe(self, name, version=None, timeout_s=None, golden=None):
        self.counted[name] += name == "net" or self.models[name] is None
        return super().probe(name, version, timeout_s, golden)

    def reload(self, name):
        super().reload(name)
        self.counted[name] = 0


@pytest.mark.parametrize(
    ("others", "models"),
    [
        ({"net": 9, "net_onnx": 5}, {"net": FULL, "net_onnx": None, "net_original": None}),
        (
            {"net": 9, "net_onnx": 5, "net_original": 5},
            {"net": BOTH_FULL, "net_onnx": QUEUE_FULL, "net_original": QUEUE_FULL},
        ),
        ({"net": 9, "net_original": 1}, {"net": "Deadline Exceeded", "net_original": "Deadline Exceeded"}),
        ({"net": 9, "net_original": 5}, {"net": CROWDED_OUT, "net_original": None}),
        ({"net_onnx": 5}, {"net_onnx": QUEUE_FULL}),
    ],
)
def test_who_has_no_room_because_others_are_answered_is_busy_and_not_ill(others, models):
    server = Asked(others, **models)
    watched = Watched(server)
    # At the first look nobody knows what was answered before.
    watched.look(9)
    assert server.reloaded == []
    assert watched.value("probes_total", model=next(iter(models)), outcome="busy") == 8


def test_who_was_loaded_anew_and_is_busy_at_once_is_not_ill_because_it_answered_more_before():
    server = Asked({}, net_onnx="Deadline Exceeded")
    server.counted["net_onnx"] = 50_000
    watched = Watched(server)
    watched.look(3)
    assert server.reloaded == ["net_onnx"]
    server.models["net_onnx"] = QUEUE_FULL
    server.others["net_onnx"] = 300
    watched.look()
    assert watched.value("probes_total", model="net_onnx", outcome="busy") == 1
    assert watched.value("probes_total", model="net_onnx", outcome="failed") == 3


@pytest.mark.parametrize("reason", [FULL, "no answer within the deadline of 10000 ms (all threads were busy)"])
@pytest.mark.parametrize("only", [None, frozenset({"net"})])
def test_a_hybrid_that_refuses_all_while_its_twins_have_nothing_to_do_but_answer_the_watch_is_ill(reason, only):
    server = Asked({"net": 100}, net=reason, net_onnx=None, net_original=None)
    watched = Watched(server, only=only)
    watched.look(2)
    assert server.reloaded == []
    watched.look()
    assert server.reloaded == ["net"]


def test_a_hybrid_is_left_alone_while_its_twins_are_away():
    """The original takes longer to load than the watch has patience."""
    server = Asked({"net": 100}, net=BOTH_AWAY)
    watched = Watched(server)
    assert not watched.look(10)
    assert server.reloaded == []
    assert watched.lines[1:] == [f"net does not answer: {BOTH_AWAY}"]
    server.models["net"] = DEAD
    watched.look()
    assert server.reloaded == ["net"]


def test_a_hybrid_that_was_dead_is_loaded_anew_once_although_its_twins_are_still_away():
    class Lonely(Server):
        def reload(self, name):
            super().reload(name)
            self.models[name] = BOTH_AWAY

    server = Lonely(net=DEAD)
    watched = Watched(server)
    watched.look(10)
    assert server.reloaded == ["net"]


def test_a_hybrid_that_does_not_find_the_twins_that_answer_the_watch_is_loaded_anew():
    """It asks for a version that they had before somebody loaded them anew."""
    server = Server(net=None, net_onnx=None, net_original=None)
    watched = Watched(server)
    watched.look(24)
    server.models["net"] = BOTH_AWAY
    watched.look(2)
    assert server.reloaded == []
    watched.look()
    assert server.reloaded == ["net"]


@pytest.mark.parametrize("was", ["never seen", "unloaded", "dead", "dead between two looks"])
def test_a_hybrid_is_given_time_to_find_a_twin_that_is_back(was):
    server = Server(net=None, net_onnx=None)
    watched = Watched(server)
    if was != "never seen":
        watched.look(24)
    server.models["net"] = BOTH_AWAY
    if was == "unloaded":
        server.states["net_onnx"] = "UNAVAILABLE"
        watched.look(5)
        server.states["net_onnx"] = "READY"
    elif was == "dead":
        server.models["net_onnx"] = DEAD
        watched.look()
    elif was == "dead between two looks":
        watched.watch.mend(dead("net_onnx"))
    server.reloaded.clear()
    # A breaker may open just before the twin is back, and three looks are as many as any model is given.
    watched.look(1 + int(LONGEST_PAUSE_S / 3) + 2)
    assert server.reloaded == []
    watched.look()
    assert server.reloaded == ["net"]


def test_a_hybrid_is_given_as_long_as_its_breakers_may_stay_open():
    policy = breaker.Policy()
    assert pytest.approx(policy.longest_pause_s * (1 + policy.jitter)) == LONGEST_PAUSE_S


def test_somebody_is_called_for_a_hybrid_that_does_not_find_its_twins_though_it_was_loaded_anew():
    server = Incurable(net=BOTH_AWAY, net_onnx=None, net_original=None)
    watched = Watched(server)
    watched.look(60)
    assert server.reloaded.count("net") >= POLICY.enough
    assert watched.value("given_up", model="net") == 1


@pytest.mark.parametrize(
    "onnx",
    [TwinFailed("onnx", "it is in quarantine: 9 of 20 differ", "quarantined"), RowsRefused("onnx", 1, 1)],
)
def test_a_hybrid_that_does_not_want_the_answers_of_the_twin_that_is_well_is_left_alone(onnx):
    away = TwinFailed("original", "'net_original' is not ready", "gone")
    server = Server(net=str(BothFailed(onnx, away)), net_onnx=None)
    Watched(server).look(60)
    assert server.reloaded == []


def test_a_hybrid_that_tells_of_its_twins_is_left_alone_while_one_of_them_answers_others():
    """It has too much to do: most callers hear what the watch hears, and some have their answer."""
    late = TwinFailed("onnx", "no answer within its budget of 600 ms", "late")
    opened = TwinFailed("original", f"its circuit breaker is open, since {late.cause}", "open")
    server = Asked({"net": 9, "net_onnx": 1}, net=str(BothFailed(late, opened)), net_onnx=None, net_original=None)
    watched = Watched(server)
    watched.look(60)
    assert server.reloaded == []
    server.others.clear()
    watched.look(1 + int(LONGEST_PAUSE_S / 3) + 3)
    assert server.reloaded == ["net"]


def test_repairs_that_do_not_help_become_rare_and_somebody_is_called():
    server = Server(net=DEAD)
    server.heals.clear()
    watched = Watched(server)
    for _ in range(20):
        watched.look(pause_s=0.5)
    # At 0, 1, 3, 7 s and not yet at 15 s.
    assert len(server.reloaded) == 4
    alarms = [line for line in watched.lines if line.startswith("ALARM")]
    assert alarms == ["ALARM: net is given up: publish it anew, or roll it back; it is tried once a minute"]
    assert watched.value("given_up", model="net") == 1
    assert watched.watch.serving == ("net",), "it is owed, though the server no longer calls it ready"

    server.heals.add("net")
    watched.look(20)
    assert watched.look()
    assert watched.value("given_up", model="net") == 0


def test_a_model_that_somebody_unloaded_stays_so():
    server = Server(net=None, net_onnx=None)
    watched = Watched(server)
    watched.look()
    server.states["net_onnx"] = "UNAVAILABLE"
    server.models["net_onnx"] = "Request for unknown model"
    watched.look(5)
    assert server.reloaded == []
    assert watched.watch.serving == ("net",)


class Incurable(Server):
    """Its models load, and fail all the same; one that its repository no longer has cannot be found."""

    def reload(self, name):
        self.reloaded.append(name)
        if name not in self.models:
            raise ModelNotFound(name, "the server's repository holds other")
        self.states[name] = "READY"


def given_up(server):
    watched = Watched(server)
    watched.look(12)
    assert watched.value("given_up", model="net") == 1
    server.reloaded.clear()
    return watched


@pytest.mark.parametrize("state", ["UNAVAILABLE", "UNLOADING"])
def test_a_model_that_somebody_unloaded_stays_so_also_where_loading_it_anew_did_not_help(state):
    server = Incurable(net=DEAD, other=None)
    watched = given_up(server)
    server.states["net"] = state
    watched.look(25)
    assert server.reloaded == []
    assert watched.watch.serving == ("other",)
    assert watched.value("given_up", model="net") is None
    server.states["net"] = "READY"
    watched.look()
    assert server.reloaded == ["net"], "somebody loaded it again, and it is looked after again"


@pytest.mark.parametrize("state", ["UNAVAILABLE", "UNLOADING"])
def test_somebody_is_called_again_for_a_model_that_was_unloaded_and_loaded_and_fails_all_the_same(state):
    server = Incurable(net=DEAD, other=None)
    watched = given_up(server)
    while not server.reloaded:
        watched.look()
    # Its next try is far off, and comes after both.
    server.states["net"] = state
    watched.look()
    assert watched.value("given_up", model="net") is None
    server.states["net"] = "READY"
    watched.look(12)
    assert watched.value("given_up", model="net") == 1
    assert len([line for line in watched.lines if line.startswith("ALARM: net is given up")]) == 2


def test_a_model_that_is_no_longer_in_the_repository_is_left_alone():
    server = Incurable(net=DEAD, other=None)
    watched = given_up(server)
    server.models.pop("net")
    watched.look(50)
    assert server.reloaded == []
    assert watched.value("given_up", model="net") is None


def test_a_model_that_the_watch_owes_and_the_repository_no_longer_has_is_owed_no_more():
    server = Server(net=DEAD, other=None)
    server.heals.clear()
    watched = given_up(server)
    server.models.pop("net")
    server.reload = partial(Incurable.reload, server)
    watched.look(50)
    assert server.reloaded == ["net"]
    assert watched.lines[-2:] == ["unloading and loading net", "net is no longer in the repository, and is left alone"]
    assert watched.watch.serving == ("other",)
    assert watched.value("given_up", model="net") is None


def test_who_did_not_come_back_with_the_server_is_called_for_until_it_is_unloaded_or_out_of_the_repository():
    server = Server(net=None, unread=None, refused=None)
    watched = Watched(server)
    for name in ("unread", "refused", "withdrawn"):
        watched.watch._telling.failed_to_load(name, "no such file")
    # So Triton lists what it never tried to load, and what it could not.
    server.states["unread"] = ""
    refused = ModelStatus("refused", 1, "UNAVAILABLE", "no such file")
    server.index = lambda: [refused, *(one for one in Server.index(server) if one.name != "refused")]
    watched.look(3)
    assert [watched.value("given_up", model=name) for name in ("unread", "refused", "withdrawn")] == [1, 1, None]


def test_a_model_that_is_being_loaded_anew_is_not_taken_for_one_that_somebody_unloaded():
    server = Hanging({"net"}, net=DEAD, other=None)
    watched = Watched(server, aside=in_a_thread)
    watched.watch._telling.failed_to_load("net", "no such file")
    watched.look()
    assert server.began["net"].wait(10)
    server.states["net"] = "UNAVAILABLE"
    watched.look()
    assert watched.value("given_up", model="net") == 1
    server.let_go.set()
    until(lambda: watched.value("given_up", model="net") == 0)


def test_a_version_that_does_not_load_is_told_of_until_it_is_gone():
    server = Server(net=None)
    watched = Watched(server)
    watched.look()
    old = server.index
    server.index = lambda: [*old(), ModelStatus("net", 2, "UNAVAILABLE", "no such operator"), GONE]
    watched.look(3)
    assert watched.lines[1:] == ["ALARM: version 2 of net does not load: no such operator"]
    assert watched.value("broken", model="net", version="2") == 1
    server.index = old
    watched.look()
    assert watched.value("broken", model="net", version="2") is None
    assert server.reloaded == [], "the version before serves"


def test_a_model_that_is_unloaded_while_it_is_looked_at_is_not_brought_back():
    server = Server(net=None, net_onnx=None)
    watched = Watched(server)

    def unloads(name, version=None, timeout_s=None, golden=None):
        server.states["net_onnx"] = "UNAVAILABLE"
        raise ProbeFailed(name, "Request for unknown model: 'net_onnx' is not ready")

    server.probe = unloads
    watched.look()
    assert server.reloaded == ["net"]


def test_samples_that_cannot_be_read_are_not_asked_for(tmp_path: Path):
    (tmp_path / "net" / "1").mkdir(parents=True)
    (tmp_path / "net" / "1" / "golden.npz").write_text("")
    server = Server(net=None)
    probe = server.probe

    def reads(name, version=None, timeout_s=None, golden=None):
        if golden is not None:
            raise ValueError("no archive")
        return probe(name)

    server.probe = reads
    assert Watched(server, repository=tmp_path).look()


def test_a_round_that_fails_for_a_reason_that_nobody_foresaw_is_not_the_last():
    server = Server(net=None)
    watched = Watched(server)
    server.index = lambda: 1 / 0
    watched.run_twice()
    assert watched.lines == ["ALARM: the watch could not look: ZeroDivisionError: division by zero"]


def test_only_the_named_ones_are_looked_after():
    server = Server(net=DEAD, other=DEAD)
    Watched(server, only=frozenset({"other"})).look()
    assert server.reloaded == ["other"]


def test_golden_samples_of_the_release_are_asked_of_all_three(tmp_path: Path):
    (tmp_path / "net" / "1").mkdir(parents=True)
    golden = tmp_path / "net" / "1" / "golden.npz"
    golden.write_text("")
    server = Server(net=None, net_onnx=None, net_original=None, other=None)
    Watched(server, repository=tmp_path).look()
    assert dict(server.asked) == {"net": golden, "net_onnx": golden, "net_original": golden, "other": None}


def test_a_server_that_is_gone_is_told_of_once_and_again_when_it_is_back():
    server = Server(net=None)
    watched = Watched(server)
    watched.look()
    server.gone = True
    with pytest.raises(ServerUnreachable):
        watched.look()
    watched.run_twice()
    (alarm,) = watched.lines[1:]
    assert alarm.startswith("ALARM: no Triton answers at 127.0.0.1:1: connection refused; ")
    assert watched.value("server_up") == 0
    server.gone = False
    watched.look()
    assert watched.lines[2:] == ["watching net"]


def test_who_is_seen_to_die_is_mended_also_while_the_server_cannot_list_its_repository():
    server = Server(net=None, net_onnx=None, net_original=None)
    server.states["net_original"] = "UNAVAILABLE"
    watched = Watched(server)
    server.unreadable = True
    server.heals.clear()
    assert watched.watch.mend(dead("net_original")) == frozenset()
    assert watched.watch.mend(dead("net_onnx")) == {"net_onnx"}
    server.heals.add("net_onnx")
    watched.now += 10
    with pytest.raises(RepositoryUnreadable):
        watched.look()
    assert server.reloaded == ["net_onnx", "net_onnx"]
    assert watched.lines[-1].startswith("net_onnx is back")


def test_a_server_that_cannot_list_its_repository_is_told_of_and_nothing_is_loaded_that_may_have_been_unloaded():
    server = Server(net=DEAD)
    server.unreadable = True
    watched = Watched(server)
    watched.run_twice()
    assert server.reloaded == []
    (alarm,) = watched.lines
    assert alarm.startswith("ALARM: the Triton at 127.0.0.1:1 answers, and cannot list its model repository: failed")


@pytest.mark.parametrize(
    ("reason", "dead"),
    [
        (DEAD, True),
        ("Request for unknown model: 'net' version 1 is not ready", True),
        (
            str(BothFailed(*(TwinFailed(twin, f"Model 'net_{twin}' is not ready.") for twin in ("onnx", "original")))),
            False,
        ),
        (CROWDED_OUT, False),
        ("Deadline Exceeded", False),
        ("unexpected shape for input 'x'", False),
    ],
)
def test_what_tritons_words_mean(reason, dead):
    assert is_dead(reason) is dead


def test_samples_that_must_not_be_looked_at_hide_no_other_models_death(tmp_path: Path, monkeypatch):
    """Published by a user whose folders only that user may look into."""
    is_file = Path.is_file

    def refused(path):
        if tmp_path / "mine" in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refused)
    server = Server(mine=None, other=DEAD)
    watched = Watched(server, repository=tmp_path)
    watched.look(2)
    assert server.reloaded == ["other"]
    assert ("mine", None) in server.asked, "zeros instead"
