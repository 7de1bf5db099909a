"""Publishers killed at random moments, and many publishes and rollbacks in a row, while callers ask the hybrid.

`make publish-soak` runs the full numbers, 50 kills and 100 switches, in about 25 minutes; the suite runs a few of each.
"""

import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from conversion.publishing.prune import prune
from conversion.publishing.repository import Repository
from conversion.publishing.verify import verify
from conversion.release.pbtxt import ROLES
from python_backend.integrity import pins
from serving import TritonServer
from serving.process import group_members

from .release_net import NAME, ROOT, Load, ask, live_on, release, serve

SEED = 20261124
FULL = os.environ.get("UNDERSTUDY_PUBLISH_SOAK") == "full"
KILLS = 50 if FULL else 4
SWITCHES = 100 if FULL else 6
# Of a caller, between two requests.
PAUSE_S = 0.01 if FULL else 0.04
# Of memory and of /dev/shm, between the first quarter of the switches and the last one.
SLACK = 1.05
SLACK_BYTES = 64 << 20
MODELS = [f"{NAME}{suffix}" for suffix in ROLES.values()]
# How long each kind of publisher takes, in publishes without a rehearsal: a kill comes at any moment of it, or just
# after.
KINDS = {"publish": 1.1, "rollback": 0.9, "rehearse": 2.0}


@pytest.fixture
def server(tmp_path):
    """A server of this test's own, so that its processes can be counted; releases 1 and 2, the second one served."""
    repository = Repository(tmp_path / "repository")
    repository.root.mkdir()
    with repository.locked():
        for factor in (2, 3):
            release(repository, factor)
    with TritonServer(repository.root, load=[], log_path=tmp_path / "triton.log", shm_region_mib=16) as running:
        with running.control() as control:
            serve(control)
        yield running


@pytest.fixture
def repository(server):
    return Repository(server.repository)


def in_order(repository, server):
    """Nothing half, nothing left over, and the server serves exactly what is pinned; gives the release."""
    served = repository.served(NAME)
    assert {pins(repository.root / model / "config.pbtxt") for model in MODELS} == {(served,)}
    assert repository.versions(NAME) == repository.releases(NAME)
    end = time.monotonic() + 20
    with server.control() as control:
        # Triton drops what it unloads a little later.
        while (ready := {(one.name, one.version) for one in control.index() if one.ready}) != {
            (model, served) for model in MODELS
        }:
            assert time.monotonic() < end, ready
            time.sleep(0.1)
    assert [verdict.problems for verdict in verify(repository, [NAME], (), lambda _: None) if verdict.problems] == []
    staging = repository.root.parent / ".repository-staging"
    left = [path for path in staging.rglob("*") if path.is_file() and "quarantine" not in path.parts]
    assert left == [staging / "lock"]
    return served


class Publisher:
    """A publisher process that has begun."""

    def __init__(self, server, *what):
        command = [sys.executable, "-m", "tests.live.release_net", str(server.repository), server.grpc_url, *what]
        path = f"{ROOT}:{ROOT / 'client'}"
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "begun\n"

    def killed_after(self, seconds):
        """Kill it unless it is done by then; gives whether it was killed."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.process.stdout.close()
        return self.process.wait() != 0

    def seconds(self):
        """How long it takes when it is let live."""
        with self.process.stdout as told:
            taken = float(told.read())
        assert self.process.wait() == 0
        return taken


def step_reached(repository, before):
    """What the pins on disk say of where a publisher was."""
    hybrid, twins = (pins(repository.root / f"{NAME}{suffix}" / "config.pbtxt") for suffix in ("", "_original"))
    if hybrid != (before,):
        return "hybrid switched" if len(twins) > 1 else "twins dropped the old one"
    return "twins beside" if len(twins) > 1 else "before the walk"


def test_publishers_killed_at_random_moments_fail_no_request_and_leave_nothing(server, repository):
    chosen = random.Random(SEED)
    killed, steps = 0, Counter()
    with Load(server.grpc_url, pause_s=PAUSE_S) as load:
        publish_s = Publisher(server, "publish", "4").seconds()
        factors = {1: 2.0, 2: 3.0, 3: 4.0}
        # One that is done before its moment comes counts for none.
        while killed < KILLS:
            kind = chosen.choice(["publish", "publish", "rollback", "rehearse"])
            before = repository.served(NAME)
            new = max(repository.releases(NAME)) + 1
            if kind == "rollback":
                new = next(v for v in repository.releases(NAME) if v != before)
            factor = factors.setdefault(new, 10.0 + steps.total())
            what = ("rollback", str(new)) if kind == "rollback" else ("publish", str(factor))
            publisher = Publisher(server, *what, *(["rehearse"] if kind == "rehearse" else []))
            ended = not publisher.killed_after(chosen.uniform(0, KINDS[kind] * publish_s))
            killed += not ended
            steps[step_reached(repository, before) if not ended else "done"] += 1
            with repository.locked():
                repository.repair(NAME, live_on(server.grpc_url))
                served = in_order(repository, server)
                # Killed in the very last moment it may have ended.
                assert served in ((new,) if ended else (before, new))
                assert ask(server.grpc_url) == factors[served]
                if new not in repository.releases(NAME):
                    del factors[new]
                prune(repository, NAME, 2)
            assert load.failures == [], steps
        with repository.locked():
            release(repository, 5, live_on(server.grpc_url))
    print(f"\n{killed} publishers killed at {dict(steps)}; {len(load.factors)} requests")
    assert load.failures == []
    assert ask(server.grpc_url) == 5
    assert set(load.factors) <= {2.0, 3.0, 4.0, 5.0, *(10.0 + turn for turn in range(steps.total()))}
    # A rehearsal's server goes with its publisher.
    assert_gone(str(repository.root.parent / ".repository-staging"))


def assert_gone(folder):
    """No tritonserver runs on a repository below `folder`, or will within 30 s."""
    deadline = time.monotonic() + 30
    while running := [line for line in command_lines() if f"--model-repository={folder}" in line]:
        assert time.monotonic() < deadline, running
        time.sleep(0.2)


def command_lines():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


def test_many_publishes_and_rollbacks_fail_no_request_and_leave_memory_flat(server, repository):
    live = live_on(server.grpc_url)
    used = []
    with Load(server.grpc_url, pause_s=PAUSE_S) as load:
        for turn in range(SWITCHES):
            with repository.locked():
                repository.repair(NAME, live)
                if turn % 2:
                    repository.switch(NAME, None, live)
                else:
                    release(repository, 10 + turn, live)
                prune(repository, NAME, 2, live)
            used.append(use_of(server.pid))
            assert load.failures == [], turn
    assert load.failures == []
    quarter = max(SWITCHES // 4, 1)
    for key in used[0]:
        first, last = (statistics.median(u[key] for u in part) for part in (used[:quarter], used[-quarter:]))
        print(f"\n{key}: {first:.4g} in the first quarter, {last:.4g} in the last")
        assert last <= first * SLACK + (0 if key in ("processes", "zombies") else SLACK_BYTES)
    in_order(repository, server)
    print(f"{SWITCHES} switches, {len(load.factors)} requests")


def use_of(server_pid, settle_s=30.0):
    """Bytes that the server and its stubs hold, bytes of their regions in /dev/shm, processes, zombies.

    Models that were let go take a second or two to end: they are waited for.
    """
    deadline = time.monotonic() + settle_s
    while len(members := group_members(server_pid)) > len(MODELS) + 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    regions = {}
    resident = {"server_bytes": 0, "stubs_bytes": 0}
    for pid in members:
        try:
            status = (Path("/proc") / str(pid) / "status").read_text()
            maps = (Path("/proc") / str(pid) / "maps").read_text()
        except OSError:
            continue
        fields = dict(line.split(":", 1) for line in status.splitlines())
        resident["server_bytes" if pid == server_pid else "stubs_bytes"] += int(fields["VmRSS"].split()[0]) * 1024
        for line in maps.splitlines():
            if "/dev/shm/triton" in line and "(deleted)" not in line:
                path = Path(line.split(maxsplit=5)[5])
                regions[path] = path.stat().st_blocks * 512 if path.exists() else 0
    zombies = sum(
        1
        for stat in Path("/proc").glob("[0-9]*/stat")
        if (told := read(stat).rpartition(")")[2].split()) and told[0] == "Z" and int(told[2]) == server_pid
    )
    return resident | {"shm_bytes": sum(regions.values()), "processes": len(members), "zombies": zombies}


def read(path):
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
