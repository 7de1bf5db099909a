"""docs/client.md, the help and the code say the same."""

import argparse
import re
from pathlib import Path

from understudy_client.arguments import CONTROL_HEADERS, CONTROL_KEY, EXIT_CODES, parser

from serving.connection import CONTROL_HEADER, KEY_VARIABLE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "client.md").read_text()


def _commands() -> dict[str, argparse.ArgumentParser]:
    (choices,) = (action.choices for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(choices)


def _options() -> dict[tuple[str, str], set[str]]:
    """Map an option as it is written, with its meaning, to the commands that take it."""
    found: dict[tuple[str, str], set[str]] = {}
    for name, command in _commands().items():
        for action in command._actions:
            if action.dest == "help":
                continue
            value = action.metavar or ("{" + ",".join(action.choices) + "}" if action.choices else "")
            written = " ".join(filter(None, [*action.option_strings, str(value)]))
            found.setdefault((written, str(action.help)), set()).add(name)
    return found


def test_every_option_is_documented_with_its_meaning_and_its_commands() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
    documented = {(option, meaning): set(of.split(", ")) for option, of, meaning in rows}
    everywhere = set(_commands())
    assert documented == {
        option: {"all"} if commands == everywhere else commands for option, commands in _options().items()
    }


def test_every_option_and_command_has_help() -> None:
    assert sorted(_commands()) == ["infer", "load", "models", "stats", "unload"]
    for written, meaning in _options():
        assert meaning not in ("None", ""), written
    for command in _commands().values():
        assert command.description


def test_the_exit_codes_are_documented() -> None:
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
    assert [(int(code), meaning) for code, meaning in rows] == [(code, meaning) for code, meaning, _ in EXIT_CODES]


def test_every_module_of_the_client_is_on_its_map() -> None:
    modules = {path.name for path in (ROOT / "client" / "understudy_client").glob("*.py")} - {"__init__.py"}
    drawn = set(re.findall(r"\b\w+\.py\b", (ROOT / "client" / "README.md").read_text()))
    assert drawn == modules


def test_the_key_is_the_one_that_the_server_asks_for_and_the_operator_sets() -> None:
    script = (ROOT / "deploy" / "serve.sh").read_text()
    assert (CONTROL_KEY, CONTROL_HEADERS["grpc"]) == (KEY_VARIABLE, CONTROL_HEADER)
    assert f':{CONTROL_HEADERS["http"]}=${{key}}"' in script
    for page in (PAGE, parser().format_help(), (ROOT / "docs" / "production.md").read_text()):
        assert CONTROL_KEY in page


def test_no_page_puts_the_key_on_a_command_line() -> None:
    for page in [*(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").rglob("*.md"), ROOT / "README.md"]:
        assert not re.search(r"--\S+ \S*\$\{?UNDERSTUDY_CONTROL_KEY", page.read_text()), page
