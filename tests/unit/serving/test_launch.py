"""What a failed start quotes."""

from pathlib import Path

import pytest

from serving.errors import NoSharedMemory, ServerFailed
from serving.launch import Launched, Order, _spawn, launch
from serving.process import ServerProcess
from serving.repository import ServedModel
from serving.shared_memory import MIB


def tail(log: Path) -> list[str]:
    return Launched(ServerProcess([], {}, log), {}, log, log.parent, embedded=True).tail()


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


def test_models_that_shared_memory_has_no_room_for_are_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton would refuse one after the other, each with a sentence of its own."""
    for part in ("bin/tritonserver", "backends/python/libtriton_python.so"):
        (tmp_path / part).parent.mkdir(parents=True)
        (tmp_path / part).touch()
    monkeypatch.setattr("serving.launch.free_bytes", lambda: 11 * MIB)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    order = Order(
        repository=tmp_path,
        ports={"http": None, "grpc": None, "metrics": None},
        log_path=None,
        start_timeout_s=1.0,
        drain_s=1,
        regions=None,
        extra_arguments=(),
        environ={"UNDERSTUDY_TRITON": str(tmp_path)},
        load_timeout_s=1.0,
        models=[ServedModel(name, "onnxruntime", (), 4) for name in "abc"],
    )
    with pytest.raises(NoSharedMemory, match=r"12 processes.*11 MiB are free"):
        launch(order)
    assert not list((tmp_path / "tmp").iterdir())
