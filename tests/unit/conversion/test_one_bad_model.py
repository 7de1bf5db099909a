"""A model that is damaged, or somebody else's, hides no other one: each command says what is wrong, and goes on."""

import json
from dataclasses import replace

import pytest

from conversion.__main__ import main
from conversion.commands import preflight
from conversion.publishing.repository import Repository

from .released import release
from .report import releases

BROKEN = "evidence.json is missing or broken"


@pytest.fixture
def repository(tmp_path, spec, affine):
    """Model 'a_bad' before a sound 'net', and one of somebody else's that pins nothing."""
    made = Repository(tmp_path / "repository")
    with made.locked():
        for name in ("a_bad", "net"):
            release(made, replace(spec, name=name), affine)
    for name in ("a_bad", "net"):
        evidence = made.root / name / "1" / "evidence.json"
        inputs = {"inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 4], "range": None}]}
        evidence.write_text(json.dumps({**releases.winning(), **json.loads(evidence.read_text()), **inputs}))
    (made.root / "a_tokenizer" / "1").mkdir(parents=True)
    (made.root / "a_tokenizer" / "config.pbtxt").write_text('name: "a_tokenizer" backend: "identity"')
    return made


@pytest.fixture
def run(repository, tmp_path, capsys, monkeypatch):
    """Run a command on the repository; gives the exit code, its lines and its messages."""
    monkeypatch.setattr(preflight, "environments_of", lambda _: None)

    def run(command, *arguments):
        code = main([command, *arguments, "--repository", str(repository.root)])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return run


def damage(repository):
    """Neither the hybrid nor its twins tell what is served."""
    for suffix in ("", "_onnx"):
        (repository.root / f"a_bad{suffix}" / "config.pbtxt").write_text("version_policy { ] }")


def test_a_model_of_somebody_else_is_nobodys_business(run):
    assert run("releases") == (0, ["a_bad: [1]   ([n] is served)", "net: [1]   ([n] is served)"], [])
    code, lines, _ = run("preflight", "--quiet")
    assert code == 0
    assert [line.split()[0] for line in lines] == ["model", "a_bad", "net"]


def test_releases_goes_on_behind_a_damaged_configuration(run, repository):
    damage(repository)
    code, lines, errors = run("releases")
    assert code == 9
    assert lines == ["net: [1]   ([n] is served)"]
    (error,) = errors
    assert error.startswith(f"error: {repository.root}/a_bad/config.pbtxt is not a Triton model configuration")


def test_releases_goes_on_behind_a_folder_that_cannot_be_listed(run, repository):
    (repository.root / "a_bad_onnx").rename(repository.root.parent / "aside")
    (repository.root / "a_bad_onnx").symlink_to("a_bad_onnx")
    for command in ("releases", "verify"):
        code, lines, errors = run(command)
        assert code != 0
        assert any(line.startswith("net") for line in lines)
        assert any("a_bad_onnx cannot be read: Too many levels of symbolic links" in each for each in lines + errors)


@pytest.mark.parametrize("evidence", ['{"schema": 2}', "[]", '{"inputs": 3}', "{"])
def test_evidence_that_lacks_what_is_asked_of_it_is_broken(run, repository, tmp_path, evidence):
    (repository.root / "a_bad" / "1" / "evidence.json").write_text(evidence)
    code, lines, errors = run("preflight", "--quiet")
    assert code == 9
    assert [line.split()[0] for line in lines] == ["model", "net"]
    assert len(errors) == 1
    assert BROKEN in errors[0]
    assert run("preflight", "a_bad", "--quiet")[0] == 9
    page = tmp_path / "report.html"
    code, lines, errors = run("report", "--output", str(page), "--bench", str(tmp_path / "none.json"))
    assert (code, lines) == (0, [str(page)])
    assert len(errors) == 1
    assert errors[0].startswith("note: the report only names a_bad: ")
    assert "8.67 times as fast" in page.read_text().replace("\N{NO-BREAK SPACE}", " ")


def test_verify_says_what_evidence_lacks(run, repository):
    """With checksums that somebody wrote anew, so that only the content tells."""
    from python_backend.integrity import write_sums

    (repository.root / "a_bad" / "1" / "evidence.json").write_text('{"schema": 2}')
    for name in ("a_bad", "net"):
        write_sums(repository.root / name / "1")
    code, lines, _ = run("verify", "--skip-replay")
    assert code == 11
    assert lines[0].startswith("a_bad release 1 (served): ")
    assert f"{BROKEN} (it lacks 'files')" in lines[0]
    assert lines[1] == "net release 1 (served): ok"


@pytest.mark.parametrize("bench", ['{"models": {"net": {"release": 1}}}', "[1]", '{"models": 3}'])
def test_an_older_bench_is_an_error_that_says_what_to_do(run, tmp_path, bench):
    (tmp_path / "bench.json").write_text(bench)
    code, _, errors = run("report", "--output", str(tmp_path / "r.html"), "--bench", str(tmp_path / "bench.json"))
    assert code == 9
    assert len(errors) == 1
    assert errors[0].endswith("run bench again, or remove it")
