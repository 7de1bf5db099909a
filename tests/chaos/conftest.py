"""Every test here is one fault under load, on a real Triton. What it measured is printed, and in build/chaos.json."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.stubs import Stubs
from serving.watch.care import Policy
from serving.watch.rounds import Watch
from serving.watch.telling import Telling
from tests.live.conftest import (
    LiveTriton,
    pytest_runtest_makereport,
    pytest_terminal_summary,
    serving_triton,
)
from tests.live.hybrid_net import Net, Shape

__all__ = ["pytest_runtest_makereport", "pytest_terminal_summary"]

REPORT = Path("build/chaos.json")
Figures = dict[str, Any]


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[LiveTriton]:
    """The session's server, on a repository that starts empty."""
    with serving_triton(tmp_path_factory.mktemp("chaos"), pytestconfig) as running:
        yield running


@pytest.fixture
def net_of(triton: LiveTriton, request: pytest.FixtureRequest) -> Iterator[Callable[..., Net]]:
    """Makes hybrids with their twins, loaded, and takes them away afterwards."""
    made: list[Net] = []

    def make(name: str, **shape: Any) -> Net:
        net = Net(triton, name, Shape(**shape))
        made.append(net)
        return net.load()

    yield make
    for net in made:
        net.close()


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """What the test measured. It is kept also where the test fails."""
    found: Figures = {}
    start = time.monotonic()
    yield found
    found["seconds"] = round(time.monotonic() - start, 1)
    scenario = request.node.name.removeprefix("test_").replace("_", " ")
    told = json.loads(REPORT.read_text()) if REPORT.is_file() else {}
    told[scenario] = {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(told, indent=1) + "\n")
    print(f"\n{scenario}: " + ", ".join(f"{key} {value}" for key, value in told[scenario].items()))


@pytest.fixture
def watched(triton: LiveTriton) -> Iterator[list[str]]:
    """What serves is looked after every second; gives the lines that are told."""
    told: list[str] = []
    stubs = Stubs(triton.server.pid)
    watch = Watch(triton.control, Telling(told.append), policy=Policy(interval_s=1.0), stubs=stubs)
    stop = threading.Event()
    thread = threading.Thread(target=watch.run, args=(stop,))
    thread.start()
    yield told
    stop.set()
    thread.join()
