"""What a start keeps of the one before, and what a failed one quotes."""

import contextlib
import errno
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from serving.errors import NoRunDirectory, NoSharedMemory, PortTaken, ServerFailed
from serving.launch import Launched, Order, _spawn, launch, make_way, put_aside
from serving.process import ServerProcess
from serving.repository import ServedModel
from serving.shared_memory import MIB

ORDER = Order(
    repository=Path("absent"),
    ports={"http": None, "grpc": None, "metrics": None},
    log_path=None,
    start_timeout_s=1.0,
    drain_s=1,
    regions=None,
    extra_arguments=(),
    environ={},
    load_timeout_s=1.0,
)


def tail(log: Path) -> list[str]:
    return Launched(ServerProcess([], {}, log), {}, log, log.parent, contextlib.ExitStack(), embedded=True).tail()


def test_errors_are_quoted_before_anything_else(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text('I1123 08:52:26.5 metrics.cc:770] "fine"\nE1123 08:52:26.6 main.cc:1] "no port"\n' + "table\n" * 40)
    assert tail(log) == ['E1123 08:52:26.6 main.cc:1] "no port"']


def test_without_errors_the_last_lines_are_quoted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(40)))
    assert tail(log) == [f"line {number}" for number in range(25, 40)]


def test_without_a_log_nothing_is_quoted(tmp_path: Path) -> None:
    assert tail(tmp_path / "absent") == []


def test_a_log_that_cannot_be_written_is_a_failed_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = tmp_path / "file" / "triton.log"
    with pytest.raises(ServerFailed, match=r"could not be started \(.*file"):
        _spawn(ServerProcess(["/bin/true"], {}, log), log)


def test_the_sentence_names_the_log_and_quotes_it() -> None:
    error = ServerFailed("ended with 1 while starting", Path("build/triton.log"), ["first", "second"])
    assert str(error) == (
        "tritonserver ended with 1 while starting; its log is build/triton.log\n    first\n    second"
    )


def install(directory: Path) -> None:
    """What counts as a Triton."""
    for part in ("bin/tritonserver", "backends/python/libtriton_python.so"):
        (directory / part).parent.mkdir(parents=True)
        (directory / part).touch()


def test_a_disk_without_room_for_what_is_laid_out_is_what_the_machine_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path)

    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("serving.launch.lay_out_backends", full)
    monkeypatch.setattr("serving.run_directory.run_places", lambda: (tmp_path,))
    with pytest.raises(NoRunDirectory, match="No space left on device"):
        launch(replace(ORDER, repository=tmp_path, environ={"UNDERSTUDY_TRITON": str(tmp_path)}))


def test_models_that_shared_memory_has_no_room_for_are_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton would refuse one after the other, each with a sentence of its own."""
    install(tmp_path)
    monkeypatch.setattr("serving.launch.free_bytes", lambda: 11 * MIB)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    order = replace(
        ORDER,
        repository=tmp_path,
        environ={"UNDERSTUDY_TRITON": str(tmp_path)},
        models=[ServedModel(name, "onnxruntime", (), 4) for name in "abc"],
    )
    with pytest.raises(NoSharedMemory, match=r"12 processes.*11 MiB are free"):
        launch(order)
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize("fails", [False, True])
def test_the_directory_is_held_as_long_as_its_server_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    install(tmp_path)
    (tmp_path / "tmp").mkdir()
    events: list[str] = []

    def hold(directory: Path) -> contextlib.ExitStack:
        assert directory.parent == tmp_path / "tmp"
        events.append("held")
        held = contextlib.ExitStack()
        held.callback(events.append, "let go")
        return held

    def run(*_: object) -> tuple[ServerProcess, dict[str, int]]:
        events.append("run")
        if fails:
            raise ServerFailed("ended", tmp_path)
        return ServerProcess([], {}, tmp_path / "log"), {}

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr("serving.launch.hold", hold)
    monkeypatch.setattr("serving.launch._run_on_free_ports", run)
    order = replace(ORDER, repository=tmp_path, environ={"UNDERSTUDY_TRITON": str(tmp_path)})
    with pytest.raises(ServerFailed) if fails else contextlib.nullcontext():
        launched = launch(order)
        assert events == ["held", "run"]
        launched.stop(0)
        launched.stop(0)
    assert events == ["held", "run", "let go"]


def test_a_log_of_which_the_ports_are_taken_is_left_as_it_is(tmp_path: Path) -> None:
    """Its server still writes it."""
    log = tmp_path / "triton.log"
    log.write_text("running")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        order = replace(ORDER, log_path=log, ports={"http": held.getsockname()[1]})
        with pytest.raises(PortTaken):
            make_way(order, None)
    assert log.read_text() == "running"


def test_a_link_is_not_put_aside(tmp_path: Path) -> None:
    """It is /dev/stdout or the like, which others write to."""
    link, log = tmp_path / "stdout", tmp_path / "file"
    log.touch()
    link.symlink_to(log)
    put_aside(link)
    assert link.is_symlink()
