import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import understudy_client
import understudy_client.__main__ as command_line
from understudy_client import (
    AccessDenied,
    ConnectionLost,
    DeadlineExceeded,
    FakeModel,
    FakeTransport,
    RequestCancelled,
    ServerError,
    ServerUnavailable,
    UnderstudyClientError,
)
from understudy_client.arguments import CONTROL_KEY, EXIT_CODES, exit_code, headers, parser

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(fake: FakeTransport, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = command_line.main(arguments, transport=fake)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_models_are_a_table_or_json(run: Run) -> None:
    code, out, err = run("models")
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()[:2]] == [
        ["model", "role", "versions", "state", "reason"],
        ["m", "hybrid", "1", "READY"],
    ]
    assert json.loads(run("models", "--json")[1])[1] == {
        "name": "m_onnx",
        "versions": ["1"],
        "state": "READY",
        "reason": "",
        "role": "onnx",
    }


def test_infer_shows_outputs_and_who_served(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[1, 2], [3, 4]], np.float32))
    code, out, err = run("infer", "--model", "m", str(tmp_path / "x.npy"))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert re.split(r"  +", lines[1]) == ["y", "float32", "[2, 2]", "2, 4, 6, 8"]
    assert re.fullmatch(r"m version 1, served by onnx, \d+\.\d ms", lines[2])


def test_infer_as_json_holds_the_same(run: Run) -> None:
    code, out, _ = run("infer", "--model", "plain", "--random", "3", "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["served_by"] is None
    assert answer["outputs"]["y"]["shape"] == [3, 2]
    assert len(answer["outputs"]["y"]["head"]) == 5


def test_infer_takes_named_files_and_writes_all_outputs(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((9, 2), np.float32))
    target = tmp_path / "out.npz"
    code, out, err = run("infer", "--model", "m", "--input", f"x={tmp_path / 'x.npy'}", "--output", str(target))
    assert code == 0
    assert err == f"understudy-client: wrote {target}\n"
    assert "served by onnx" in out
    with np.load(target) as written:
        assert written["y"].tolist() == [[2, 2]] * 9


def test_random_values_come_from_the_seed(run: Run) -> None:
    def values(seed: str) -> object:
        return json.loads(run("infer", "--model", "m", "--random", "1", "--seed", seed, "--json")[1])["outputs"]

    assert values("1") == values("1") != values("2")


def test_stats_show_every_hybrid_or_the_named(run: Run) -> None:
    run("infer", "--model", "m", "--random", "2")
    code, out, _ = run("stats")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["model", "m", "m_onnx", "m_original", "speedup"]
    (named,) = json.loads(run("stats", "plain", "--json")[1])
    assert named["onnx"] is None


def test_stats_leave_out_a_hybrid_of_which_nothing_is_served(run: Run) -> None:
    run("unload", "m", "m_onnx")
    assert run("stats")[1].splitlines()[1].split()[:3] == ["m", "hybrid", "-"]
    run("unload", "m_original")
    code, out, err = run("stats")
    assert (code, out) == (0, "")
    assert "serves no hybrid" in err
    assert json.loads(run("stats", "--json")[1]) == []


def test_stats_without_a_hybrid_say_so(run: Run, fake: FakeTransport, doubling: Callable[..., FakeModel]) -> None:
    fake._models = {"plain": doubling("plain")}
    code, out, err = run("stats")
    assert (code, out) == (0, "")
    assert "serves no hybrid" in err


def test_load_and_unload_take_several_and_stop_at_the_first_error(run: Run) -> None:
    code, out, err = run("unload", "m", "nope", "plain")
    assert (code, out) == (4, "")
    assert err.startswith("understudy-client: unloaded m\nunderstudy-client: unloading 'nope' failed")
    states = {model["name"]: model["state"] for model in json.loads(run("models", "--json")[1])}
    assert (states["m"], states["plain"]) == ("UNAVAILABLE", "READY")
    assert run("infer", "--model", "m", "--random", "1")[0] == 4
    code, out, err = run("load", "m", "--json")
    assert (code, json.loads(out)) == (0, [{"model": "m", "done": "loaded"}])
    assert run("infer", "--model", "m", "--random", "1")[0] == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AccessDenied("here", "x"), 3),
        (ServerUnavailable("here", "x"), 5),
        (ConnectionLost("here", "x"), 5),
        (DeadlineExceeded("here", "x"), 6),
        (ServerError("here", "x"), 7),
        (RequestCancelled("here", "x"), 7),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(
    run: Run, fake: FakeTransport, error: UnderstudyClientError, code: int
) -> None:
    fake.script(*[error] * 4)
    ended, out, err = run("infer", "--model", "m", "--random", "1")
    assert (ended, out) == (code, "")
    assert err.startswith("understudy-client: here ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("infer", "--model", "m"), 2),
        (("infer", "--model", "m", "--random", "1", "x.npy"), 2),
        (("models", "--header", "x"), 2),
        (("models", "--timeout", "0"), 2),
        (("models", "--url", "http://x"), 2),
        (("models", "--root-certificates", "x.pem"), 2),
        (("infer", "--model", "m", "none.npy"), 8),
        (("infer", "--model", "nope", "--random", "1"), 4),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_an_exit_code(run: Run, arguments: tuple[str, ...], code: int) -> None:
    ended, out, err = run(*arguments)
    assert (ended, out) == (code, "")
    assert len(err.splitlines()) == 1


def test_a_wrong_input_is_exit_code_3(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((1, 2)))
    code, _, err = run("infer", "--model", "m", str(tmp_path / "x.npy"))
    assert code == 3
    assert "takes float32 (FP32), and got float64" in err


def test_ctrl_c_is_one_word(run: Run, fake: FakeTransport) -> None:
    def interrupted(call: object) -> None:
        raise KeyboardInterrupt

    fake.script(interrupted)  # type: ignore[arg-type]
    assert run("infer", "--model", "m", "--random", "1") == (130, "", "understudy-client: interrupted\n")


GRPC, HTTP = "triton-grpc-protocol-understudy-control", "understudy-control"


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (("load", "m"), {GRPC: "a secret"}),
        (("unload", "m", "--protocol", "http"), {HTTP: "a secret"}),
        (("models",), {GRPC: "a secret"}),
        (("stats",), {GRPC: "a secret"}),
        (("infer", "--model", "m", "--random", "1"), {}),
        (("load", "m", "--header", "a=b=c"), {GRPC: "a secret", "a": "b=c"}),
        (("load", "m", "--header", f"{GRPC.upper()}=another"), {GRPC: "another"}),
    ],
)
def test_the_key_of_the_environment_goes_with_what_may_need_it(
    arguments: tuple[str, ...], sent: dict[str, str]
) -> None:
    asked = parser().parse_args(arguments)
    assert headers(asked, {CONTROL_KEY: "a secret"}) == sent
    assert headers(asked, {}) == {name: value for name, value in sent.items() if value != "a secret"}


def test_a_key_that_no_header_can_hold_is_not_repeated(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("secret\n", "s\u00e9cret"):
        monkeypatch.setenv(CONTROL_KEY, key)
        code, out, err = run("load", "m")
        assert (code, out) == (2, "")
        assert f"{CONTROL_KEY}='({len(key)} characters)' cannot be used: expected printable ASCII on one line." in err
        assert "cret" not in err.replace(CONTROL_KEY, "")


@pytest.mark.parametrize("arguments", [(), ("sing",), ("infer",), ("infer", "--model", "m", "--random", "0")])
def test_a_wrong_command_line_is_exit_code_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command_line.main(arguments)
    assert caught.value.code == 2
    assert "usage: understudy-client" in capsys.readouterr().err


def test_every_error_has_an_exit_code() -> None:
    for name in understudy_client.__all__:
        kind = getattr(understudy_client, name)
        if isinstance(kind, type) and issubclass(kind, UnderstudyClientError) and kind is not UnderstudyClientError:
            assert any(issubclass(kind, kinds) for _, _, kinds in EXIT_CODES), name
    assert exit_code(understudy_client.WrongShape("m", "x", [1], [2], "")) == 3


def test_docstring_and_help_hold_the_table_of_exit_codes() -> None:
    for code, meaning, _ in EXIT_CODES:
        line = f"  {code:>3}  {meaning}"
        assert line in (command_line.__doc__ or "")
        assert line in parser().format_help()
