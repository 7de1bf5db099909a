"""One real Triton for all tests of this folder. Where there is none the tests fail: a skip would hide that."""

import contextlib
import shutil
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from serving import ModelControl, TritonServer

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.live)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.path.is_relative_to(HERE):
        report.outcome = "failed"
        report.longrepr = f"a live test never skips: {report.longrepr}"
    return report


@dataclass(frozen=True)
class LiveTriton:
    """A running server, its repository, and a connection to control it."""

    server: TritonServer
    repository: Path
    control: ModelControl

    def add(self, folder: Path, name: str | None = None) -> str:
        """Copy a model folder into the repository, under `name` or its own, and load it. Returns the name."""
        name = name or folder.name
        shutil.copytree(folder, self.repository / name)
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


@contextlib.contextmanager
def serving_triton(root: Path) -> Iterator[LiveTriton]:
    """A server on an empty repository in `root`."""
    (root / "repository").mkdir()
    with TritonServer(root / "repository", log_path=root / "triton.log") as server, server.control() as control:
        yield LiveTriton(server, root / "repository", control)


@pytest.fixture(scope="session")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveTriton]:
    """The session's server, on a repository that starts empty: a test adds what it needs and drops it again."""
    with serving_triton(tmp_path_factory.mktemp("triton")) as running:
        yield running
