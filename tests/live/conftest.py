"""One real Triton for all tests of this folder. Where there is none the tests fail: a skip would hide that.

A Triton that ends by itself takes the test under way with it and no other: it is started again, with what it served.
That test is run once more (`--only-rerun` in pyproject.toml), and the end of the report names it.
"""

import contextlib
import shutil
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from serving import ModelControl, TritonServer
from serving.errors import ServerUnreachable, ServingError

HERE = Path(__file__).parent
ENDED = "tritonserver ended"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.live)


class TritonEnded(Exception):
    """The server of all tests ended while one of them ran."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    running = item.config.stash.get(RUNNING, None)
    # Its end is seen a moment after the calls that it cut.
    ended = running.revive(within_s=3.0 if call.excinfo else 0.0) if running else None
    if ended is not None:
        ended = f"{item.nodeid} ({call.when}): {ended}"
        try:
            raise TritonEnded(ended) from (call.excinfo.value if call.excinfo else None)
        except TritonEnded as told:
            call.excinfo = pytest.ExceptionInfo.from_exception(told)
    report = yield
    if ended is not None:
        report.user_properties.append((ENDED, ended))
    if report.skipped and item.path.is_relative_to(HERE):
        report.outcome = "failed"
        report.longrepr = f"a live test never skips: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    told = [
        text
        for reports in terminalreporter.stats.values()
        for report in reports
        for key, text in getattr(report, "user_properties", ())
        if key == ENDED
    ]
    if told:
        terminalreporter.section("Triton ended by itself, and was started again", yellow=True)
        for text in dict.fromkeys(told):
            terminalreporter.line(text)


def until_reached(control: ModelControl, within_s: float = 5.0) -> None:
    """Wait for a connection that was broken: it is made anew after a pause of its own. Raises ServerUnreachable."""
    end = time.monotonic() + within_s
    while True:
        try:
            control.index()
            return
        except ServerUnreachable:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@dataclass(frozen=True)
class LiveTriton:
    """A running server, its repository, and a connection to control it."""

    server: TritonServer
    repository: Path
    control: ModelControl

    def revive(self, within_s: float) -> str | None:
        """Start the server again if it ends within this time. How it ended and its log's last lines, else None."""
        status = self.server.wait(within_s)
        if status is None:
            return None
        told = "\n  ".join((f"tritonserver ended with {status}", *self.server.log_tail()))
        try:
            self.server.restart()
            until_reached(self.control)
        except ServingError as error:
            pytest.exit(f"{told}\nand does not start again: {error}", returncode=3)
        return told

    def add(self, folder: Path, name: str | None = None) -> str:
        """Copy a model folder into the repository, under `name` or its own, and load it. Returns the name."""
        name = name or folder.name
        # It is there where Triton ended while the model was loaded, and the test runs once more.
        shutil.copytree(folder, self.repository / name, dirs_exist_ok=True)
        self.control.load(name)
        return name

    def drop(self, *names: str) -> None:
        """Unload models, wait until they are gone, and remove their folders: the first one, then the others at once.

        24.10 crashes now and then when a model is loaded while another one of the same name still unloads.
        """
        first, *others = names
        self.control.unload(first, wait_s=5.0)
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(lambda name: self.control.unload(name, wait_s=5.0), others))
        for name in names:
            shutil.rmtree(self.repository / name)


RUNNING = pytest.StashKey[LiveTriton]()


@contextlib.contextmanager
def serving_triton(root: Path, config: pytest.Config | None = None) -> Iterator[LiveTriton]:
    """A server on an empty repository in `root`. With `config` it is the one of all tests, which has to live."""
    (root / "repository").mkdir()
    with TritonServer(root / "repository", log_path=root / "triton.log") as server, server.control() as control:
        running = LiveTriton(server, root / "repository", control)
        if config is not None:
            config.stash[RUNNING] = running
        yield running
        if config is not None:
            del config.stash[RUNNING]
            # Nobody asks it any more, and a model that lost one of two processes would keep it for its whole drain.
            server.kill()


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[LiveTriton]:
    """The session's server, on a repository that starts empty: a test adds what it needs and drops it again."""
    with serving_triton(tmp_path_factory.mktemp("triton"), pytestconfig) as running:
        yield running
