"""The conversion's command line, but for what needs a framework."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from conversion.__main__ import _parser, main
from conversion.commands.convert import _served
from conversion.commands.live_server import machine_of
from conversion.commands.shared import progress
from conversion.errors import ReleaseRefused, UndoFailed, WorkerDied
from conversion.pipeline import Outcome
from conversion.publishing.live import Live
from conversion.publishing.repository import Repository
from conversion.release.pbtxt import ROLES, model_configs
from conversion.worker import Task, run_worker

from .report import releases

ROOT = Path(__file__).parents[3]


@pytest.fixture
def released(tmp_path, spec):
    """A repository with two releases of 'net', and the arguments that name it."""
    repository = Repository(tmp_path / "repository")
    for content in ("first", "second"):
        with repository.locked():
            staged = repository.stage("net")
            for role in ROLES:
                (staged / role / "file").write_text(content)
            repository.publish("net", staged, model_configs(spec, [], []))
    return ["--repository", str(repository.root)]


def two_models(folder):
    """Folders of two models, 'one' and 'two', with empty files."""
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "net.h5").touch()
        (folder / name / "model.toml").write_text('[source]\npath = "net.h5"\n')
    return [str(folder / name) for name in ("one", "two")]


def test_releases_shows_what_is_served(released, capsys):
    assert main(["releases", *released]) == 0
    assert capsys.readouterr().out == "net: 1 [2]   ([n] is served)\n"


def test_rollback_goes_back_and_to_any_release(released, capsys):
    assert main(["rollback", "net", *released, "--server", "none"]) == 0
    assert main(["rollback", "net", "--to", "2", *released, "--server", "none"]) == 0
    assert capsys.readouterr().out == "net: release 1 is served\nnet: release 2 is served\n"
    assert main(["rollback", "net", "--to", "7", *released, "--server", "none"]) == 9
    assert capsys.readouterr().err == "error: there is no release 7 of net to serve; releases on disk: 1, 2\n"


def test_a_name_that_is_not_published_is_said(released, capsys):
    assert main(["releases", "other", *released]) == 9
    assert "holds no release of 'other'" in capsys.readouterr().err


def test_a_repository_that_is_not_there_is_an_error_and_an_empty_one_is_not(tmp_path, capsys):
    typed, empty = tmp_path / "typed", tmp_path / "empty"
    empty.mkdir()
    assert main(["releases", "--repository", str(typed)]) == 9
    assert main(["releases", "--repository", str(empty)]) == 0
    assert capsys.readouterr() == (
        "",
        f"error: {typed} is no folder and holds no release; name the repository with --repository\n"
        f"note: {empty} holds no release; publish one with convert\n",
    )
    assert not typed.exists()


def test_a_server_that_does_not_answer_stops_the_rollback(released, capsys):
    assert main(["rollback", "net", *released, "--server", "127.0.0.1:1"]) == 9
    assert "the server at 127.0.0.1:1 did not list its models: no Triton answers" in capsys.readouterr().err
    assert main(["releases", *released]) == 0
    assert capsys.readouterr().out == "net: 1 [2]   ([n] is served)\n"


def test_info_and_validate_of_a_file(affine, tmp_path, capsys):
    path = tmp_path / "net.onnx"
    onnx.save(affine, str(path))
    assert main(["validate", str(path)]) == 0
    assert main(["info", str(path)]) == 0
    valid, _, facts = capsys.readouterr().out.partition("\n")
    assert valid == f"{path}: valid"
    assert json.loads(facts)["inputs"] == [{"name": "x", "dtype": "float32", "shape": ["batch", 4], "range": None}]


@pytest.mark.parametrize("command", ["validate", "info"])
def test_a_broken_file_is_one_sentence_and_exit_code_8(tmp_path, capsys, command):
    (tmp_path / "net.onnx").write_bytes(b"nothing")
    assert main([command, str(tmp_path / "net.onnx")]) == 8
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1


def test_progress_goes_to_a_pipe_too_with_the_time_since_it_began(monkeypatch, capsys):
    now = iter([100.0, 100.9, 165.2])
    monkeypatch.setattr("conversion.commands.shared.time.monotonic", lambda: next(now))
    report = progress("net", _parser().parse_args(["convert", "net"]))
    report("first")
    report("second")
    assert capsys.readouterr().err == "[net 0:00] first\n[net 1:05] second\n"


def test_quiet_shows_no_progress(capsys):
    progress("net", _parser().parse_args(["convert", "net", "--quiet"]))("first")
    assert capsys.readouterr().err == ""


class Gone(io.StringIO):
    """A terminal that was closed."""

    def write(self, _):
        raise OSError(errno.EIO, "Input/output error")


def test_a_message_that_cannot_be_written_is_no_failure_of_what_it_tells_of(monkeypatch):
    monkeypatch.setattr("sys.stderr", Gone())
    progress("net", _parser().parse_args(["convert", "net"]))("live: golden samples hold")


@pytest.mark.parametrize("arguments", [[], ["convert", "--no-such-option"], ["rollback"]])
def test_wrong_use_is_exit_code_2(arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_nothing_to_convert_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["convert"]) == 2
    assert "no model given, and no model.toml below models/" in capsys.readouterr().err


def test_whatever_a_worker_did_not_expect_is_told_with_its_log(spec, tmp_path):
    """A task that there is not: the worker ends with a traceback in its log."""
    sentence = r"stopped at an error \(AttributeError: module .* has no attribute 'no_such'\); its output is in .*log"
    with pytest.raises(WorkerDied, match=sentence):
        run_worker(Task("build", "no_such", spec), tmp_path / "work", tmp_path / "log", lambda _: None)
    assert "Traceback" in (tmp_path / "log").read_text()


class Leaves:
    """A task whose process ends while it reads it."""

    gpu = False

    def __init__(self, spec):
        self.spec = spec

    def __reduce__(self):
        return os._exit, (3,)


def test_a_worker_without_a_verdict_is_named_with_its_log(spec, tmp_path):
    with pytest.raises(WorkerDied, match=r"ended with 3; its output is in .*log"):
        run_worker(Leaves(spec), tmp_path / "work", tmp_path / "log", lambda _: None)


def test_a_worker_that_ended_before_it_read_its_task_is_named_with_its_log(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    more_than_a_pipe_holds = Task("build", "build", spec, {"more": bytes(1 << 20)})
    with pytest.raises(WorkerDied, match=r"ended with 1; its output is in .*log"):
        run_worker(more_than_a_pipe_holds, tmp_path / "work", tmp_path / "log", lambda _: None)


@pytest.mark.parametrize(
    ("serving", "told"),
    [
        (releases.served(), "2 instances of 1 thread, batching on: as model.toml says"),
        (
            releases.served("default", "the search is off"),
            "2 instances of 1 thread, batching on: not measured, the search is off",
        ),
        (releases.arranged()["serving"], "1 instance of 2 threads, batching off: measured best of 4"),
        (
            releases.served("measured", tried=(releases.arrangement(2, 1, True, 1.0),) * 4),
            "2 instances of 1 thread, batching on: measured, no other of 4 is clearly better",
        ),
    ],
)
def test_how_a_twin_is_served_is_one_line(serving, told):
    assert _served(serving) == told


@pytest.mark.parametrize(("arguments", "measured"), [([], True), (["--no-rehearsal"], False)])
def test_nothing_is_measured_where_no_server_is_to_be_started(arguments, measured):
    machine = machine_of(_parser().parse_args(["convert", "net", *arguments]))
    assert (machine is not None) == measured
    if machine is not None:
        assert 1 <= machine.cores <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize("told", [True, False])
def test_that_no_server_was_told_is_said_of_what_was_so_at_the_end(tmp_path, monkeypatch, capsys, told):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "net.h5").touch()
    (tmp_path / "net" / "model.toml").write_text('[source]\npath = "net.h5"\n')
    live = Live(None, None, print) if told else None
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("conversion.commands.convert.convert", lambda *_, **__: Outcome("net", 1, False, 1, {}, live))
    monkeypatch.setattr("conversion.commands.convert._told", lambda _: "published")
    assert main(["convert", "net", "--no-rehearsal"]) == 0
    assert capsys.readouterr().err == (
        "" if told else "note: no server was told: none runs that 'make serve' started on model_repository\n"
    )


def test_a_file_that_the_system_refuses_is_named_and_hides_no_other_model(tmp_path, monkeypatch, capsys):
    asked = []

    def convert(spec, *_, **__):
        asked.append(spec.name)
        with (tmp_path / spec.name / "net.h5" / "inside").open():
            pass

    monkeypatch.setattr("conversion.commands.convert.convert", convert)
    folders = two_models(tmp_path)
    code = main(
        ["convert", *folders, "--repository", str(tmp_path / "repository"), "--server", "none", "--no-rehearsal"]
    )
    assert (code, asked) == (1, ["one", "two"])
    assert capsys.readouterr().err == "".join(
        f"error: {name} was not published: {tmp_path}/{name}/net.h5/inside: Not a directory\n"
        for name in ("one", "two")
    )


@pytest.mark.parametrize("undone", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_interrupt_that_could_not_be_undone_ends_the_whole_run(tmp_path, monkeypatch, capsys, undone):
    """Whether a second one came meanwhile or the disk refused: the next model's search is not begun."""
    asked = []

    def convert(spec, *_, **__):
        asked.append(spec.name)
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise UndoFailed(spec.name, 2, "interrupted", undone) from error

    monkeypatch.setattr("conversion.commands.convert.convert", convert)
    folders = two_models(tmp_path)
    code = main(["convert", *folders, "--server", "none", "--no-rehearsal"])
    assert (code, asked) == (130, ["one"])
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("error: release 2 of one did not go live (interrupted), and that could not be undone: ")


def test_an_interrupt_while_a_failure_is_undone_ends_with_its_own_code(released, monkeypatch, capsys):
    def switch(*_):
        try:
            raise ReleaseRefused("refused")
        except ReleaseRefused as error:
            try:
                raise KeyboardInterrupt
            except KeyboardInterrupt as failure:
                raise UndoFailed("net", 1, "refused", failure) from error

    monkeypatch.setattr(Repository, "switch", switch)
    assert main(["rollback", "net", *released, "--server", "none"]) == 130
    assert "that could not be undone: interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "command", [["rollback", "net", "--server", "none"], ["prune", "net", "--server", "none"], ["releases"]]
)
def test_whoever_has_ended_reading_makes_no_failure_of_what_was_done(released, command, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "conversion", *command, *released],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_messages_that_nobody_can_read_make_no_failure_of_what_was_done(released, unbuffered):
    """A note is told on standard error: no server runs."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "conversion", "rollback", "net", *released],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, "net: release 1 is served\n")


def test_what_the_system_refuses_elsewhere_is_told_in_a_sentence(released, monkeypatch, capsys):
    def locked(repository, *_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", str(repository.root))

    monkeypatch.setattr(Repository, "locked", locked)
    assert main(["rollback", "net", *released, "--server", "none"]) == 1
    assert capsys.readouterr().err == f"error: {released[1]}: No space left on device\n"
