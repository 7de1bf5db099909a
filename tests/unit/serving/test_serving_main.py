"""The command line, as far as it needs no server."""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import __main__ as cli
from serving import errors
from serving.commands.shared import show
from serving.control import ModelControl, ModelStatus
from serving.ports import choose

ROOT = Path(__file__).parents[3]


def run(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "serving", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    (subparsers,) = (a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction))
    yield from subparsers.choices.items()


def test_every_command_and_option_has_help_and_the_exit_codes_are_told() -> None:
    names = []
    for name, parser in commands():
        names.append(name)
        assert parser.description
        assert all(action.help for action in parser._actions)
        assert "exit codes:" in parser.format_help()
    assert names == ["serve", "watch", "load", "unload", "reload", "switch", "status"]


def test_the_help_begins_with_every_command() -> None:
    [commands] = [a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction)]
    assert f"`python -m serving {'|'.join(commands.choices)}`" in (cli.__doc__ or "")


def test_the_exit_codes_told_are_those_of_the_errors() -> None:
    told = {int(code) for code in re.findall(r"^  (\d+) ", cli.EXIT_CODES, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ServingError)]
    assert told == {0, 130} | {kind.exit_code for kind in kinds}


def test_the_help_of_switch_tells_the_order_in_which_it_loads() -> None:
    told = dict(commands())["switch"].description or ""
    order = Recording().switch("net")
    assert order == ["net_onnx", "net", "net_original"]
    assert told.endswith("ONNX twin, hybrid, then original")


class Recording(ModelControl):
    """A server with all three models, which loads whatever it is told."""

    def __init__(self) -> None:
        pass

    def index(self) -> list[ModelStatus]:
        return [ModelStatus(f"net{suffix}", 1, "READY", "") for suffix in ("", "_onnx", "_original")]

    def load(self, name: str) -> None:
        pass


def test_an_unknown_command_is_usage() -> None:
    assert run("bogus")[0] == 2


def test_a_missing_repository_is_usage_and_says_what_to_do(tmp_path: Path) -> None:
    code, out, err = run("serve", "--repository", str(tmp_path / "absent"))
    assert code == 2
    assert out == ""
    assert "no such directory; publish a model first" in err


def test_a_server_is_started_again_by_the_watch_alone() -> None:
    code, out, err = run("serve", "--no-watch", "--on-hybrid-death", "restart")
    assert (code, out) == (2, "")
    assert "--on-hybrid-death: not allowed with argument --no-watch" in err


def test_no_server_is_7_and_names_the_address(tmp_path: Path) -> None:
    url = f"127.0.0.1:{choose({'grpc': None})['grpc']}"
    for command in (["status"], ["watch", "--watch-port", "0"], ["load", "net"], ["unload", "net"], ["switch", "net"]):
        code, out, err = run(*command, "--grpc-url", url)
        assert code == 7
        assert out == ""
        assert f"no Triton answers at {url}" in err
        assert "Traceback" not in err


def test_messages_that_nobody_can_read_change_no_exit_code(tmp_path: Path) -> None:
    url = f"127.0.0.1:{choose({'grpc': None})['grpc']}"
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "serving", "status", "--grpc-url", url]
    done = subprocess.run(command, cwd=ROOT, stderr=write, check=False)
    os.close(write)
    assert done.returncode == 7


def test_addresses_that_nobody_reads_end_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        show("grpc\t127.0.0.1:8001")
        # As Python does it once more at its end, where it would change the exit code.
        gone.flush()


def test_a_machine_without_triton_is_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_TRITON", str(tmp_path))
    code, _, err = run("serve", "--repository", str(tmp_path), "--log", str(tmp_path / "log"))
    assert code == 3
    assert "UNDERSTUDY_TRITON" in err
