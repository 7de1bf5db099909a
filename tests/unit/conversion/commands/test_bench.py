"""`bench` over several models, of which one fails; nothing is measured."""

import json

import pytest

from conversion.__main__ import main
from conversion.commands import bench
from conversion.errors import MeasuringFailed

from ..measuring.test_bench_table import entry

MEASURED = entry(provider="CPUExecutionProvider", nodes={})


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run it on three models, one of which raises something; gives the exit code, what is told and the messages."""
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.toml").write_text('[source]\npath = "net.keras"\n')

    def run(error, of="b", more=()):
        def measured(spec, *_, **__):
            if spec.name in of:
                raise error
            return MEASURED

        monkeypatch.setattr(bench, "bench", measured)
        where = ["--output", str(tmp_path / "bench.json"), "--repository", str(tmp_path / "repository"), "--quiet"]
        code = main(["bench", *(str(tmp_path / name) for name in "abc"), *where, *more])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def written(tmp_path):
    return json.loads((tmp_path / "bench.json").read_text())["models"]


def test_one_that_fails_hides_no_other(run, tmp_path):
    code, told, messages = run(MeasuringFailed("twin", 1, "out of memory"))
    assert code == 10
    assert messages == "error: the process that measured the memory of the twin ended with 1: out of memory\n"
    assert written(tmp_path) == {"a": MEASURED, "c": MEASURED}
    assert [line.split(":")[0] for line in told.splitlines()[1:]] == ["a", "c"]
    code, _, messages = run(PermissionError(13, "Permission denied", "bundle"))
    assert (code, messages) == (1, "error: b was not measured: bundle: Permission denied\n")


def test_who_names_batch_sizes_is_told_where_a_model_has_none(run, tmp_path):
    (tmp_path / "c" / "model.toml").write_text('[source]\npath = "net.keras"\n[serving]\nmax_batch_size = 0\n')
    _, _, messages = run(None, of="", more=["--batch-sizes", "1", "10", "100"])
    assert messages == "note: c has no batch dimension: it is measured at 1, not at 10, 100\n"
    assert run(None, of="", more=["--batch-sizes", "1"])[2] == ""


def test_what_was_measured_before_an_interruption_is_kept(run, tmp_path):
    assert run(KeyboardInterrupt())[0] == 130
    assert written(tmp_path) == {"a": MEASURED}


def test_where_nothing_was_measured_nothing_is_written(run, tmp_path):
    code, told, _ = run(MeasuringFailed("twin", 1, ""), "abc")
    assert (code, told) == (10, "")
    assert not (tmp_path / "bench.json").exists()


def test_what_is_not_published_is_told(tmp_path, capsys):
    (tmp_path / "model.toml").write_text('name = "net"\n[source]\npath = "net.keras"\n')
    output = ["--output", str(tmp_path / "bench.json"), "--build", str(tmp_path / "build")]
    code = main(["bench", str(tmp_path), "--repository", str(tmp_path / "none"), *output])
    assert (code, capsys.readouterr().err) == (
        9,
        f"error: {tmp_path}/none serves no release of 'net'; publish it with convert\n",
    )
