"""What `tune` leaves behind and tells; nothing is measured."""

import json

import pytest

from conversion.__main__ import main
from conversion.commands import tune
from conversion.spec.reader import read_spec

from ..tuning.test_page import BEST, FOUND, SERVED

SPEC = '[source]\npath = "net.keras"\n'


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run it on a model.toml, with what is found of it; gives the exit code, what is told and the messages."""

    def run(text=SPEC, *options, **found):
        folder = tmp_path / "net"
        folder.mkdir(exist_ok=True)
        (folder / "model.toml").write_text(text)
        machine = {"machine": {"processor": "AMD EPYC", "cores": 2, "usable_cores": 2}}
        monkeypatch.setattr(tune, "tune", lambda *_, **__: FOUND | machine | found)
        monkeypatch.setattr(tune, "here", lambda: None)
        code = main(["tune", str(folder), "--build", str(tmp_path / "build"), "--quiet", *options])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def test_what_is_better_is_written_to_model_toml(run, tmp_path):
    code, told, messages = run()
    assert code == 0
    assert told.startswith("net: best served with 1 instance of 2 threads with rows of their own")
    assert "\n  1.57 times the answers a second of what is served (1.50 to 1.60), p99 within 100 ms\n" in told
    assert "publishes it" in messages
    assert read_spec(tmp_path / "net").serving.tuned.gain == 1.57


def test_a_dry_run_leaves_model_toml_as_it_is(run, tmp_path):
    code, _, messages = run(SPEC, "--dry-run")
    assert (code, messages) == (0, "note: model.toml was left as it is\n")
    assert (tmp_path / "net" / "model.toml").read_text() == SPEC


def test_where_model_toml_cannot_be_written_everything_that_was_measured_is_kept(run, tmp_path):
    text = "serving = { max_batch_size = 16 }\n" + SPEC
    code, told, messages = run(text)
    assert code == 3
    assert told.startswith("net: best served with 1 instance of 2 threads")
    assert "was left as it is; what was to stand at its end:\n[serving.tuned]  # by `make tune`, 2026-11-26" in messages
    assert "\ninstances = 1\nthreads = 2\n" in messages
    assert "error: " in messages
    assert "'serving' must be a table [serving]" in messages
    assert (tmp_path / "net" / "model.toml").read_text() == text
    assert json.loads((tmp_path / "build" / "tune" / "net.json").read_text())["best"] == BEST
    assert (tmp_path / "build" / "tune" / "net.html").is_file()


def test_where_nothing_is_clearly_better_what_is_served_is_named(run, tmp_path):
    little = {"median": 1.03, "low": 1.02, "high": 1.04}
    code, told, _ = run(gain=little, gain_over_default=little)
    assert code == 0
    best = "1 instance of 2 threads with rows of their own, batching by the hybrid, 8 rows at most, after 0.5 ms"
    first, second, third, _ = told.splitlines()
    assert first == "net: what is served is as good as any: 2 instances of 1 thread, batching on"
    assert second.startswith(f"  {best}, 2 processes of the hybrid: 1.03 times the answers a second of what is served")
    assert third.startswith(f"  {best}, 2 processes of the hybrid: 1.03 times the answers a second of the default")
    page = (tmp_path / "build" / "tune" / "net.html").read_text()
    assert '<p class="verdict">2 instances of 1 thread, batching on, as it is served' in page
    assert f"the best that was tried: {best}" in page
    assert (tmp_path / "net" / "model.toml").read_text() == SPEC


def test_where_the_best_is_what_is_served_it_is_not_compared_with_itself(run, tmp_path):
    one = {"median": 1.0, "low": 1.0, "high": 1.0}
    _, told, _ = run(best=SERVED, gain=one, gain_over_default={"median": 1.5, "low": 1.4, "high": 1.6})
    assert "of what is served" not in told
    assert "\n  1.50 times the answers a second of the default (1.40 to 1.60)" in told
    assert "the best that was tried" not in (tmp_path / "build" / "tune" / "net.html").read_text()


def test_what_is_not_published_is_told(tmp_path, monkeypatch, capsys):
    (tmp_path / "model.toml").write_text('name = "net"\n' + SPEC)
    monkeypatch.setattr(tune, "here", lambda: None)
    where = ["--repository", str(tmp_path / "none"), "--build", str(tmp_path / "build")]
    assert main(["tune", str(tmp_path), *where]) == 9
    assert capsys.readouterr().err == f"error: {tmp_path}/none serves no release of 'net'; publish it with convert\n"
