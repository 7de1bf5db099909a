"""The report of all models."""

import json
from pathlib import Path
from urllib.parse import unquote

import pytest

from conversion.errors import PublishError
from conversion.publishing.repository import Repository
from conversion.release.pbtxt import ROLES, model_configs
from conversion.report.overview import overview, read_bench, served, write_overview
from conversion.report.release import release_report

from . import releases
from .reading import Page, unfounded


@pytest.fixture
def publish(tmp_path, spec):
    """Publishes evidence (any text) as the next release of a model, with its report or without."""
    repository = Repository(tmp_path / "model repository")

    def publish(name, evidence, report=""):
        with repository.locked():
            staged = repository.stage(name)
            text = evidence if isinstance(evidence, str) else json.dumps(evidence)
            (staged / "hybrid" / "evidence.json").write_text(text)
            if report:
                (staged / "hybrid" / "report.html").write_text(report)
            for role in ROLES:
                (staged / role / "file").write_text(role)
            repository.publish(name, staged, model_configs(spec, [], []))

    publish.repository = repository
    return publish


def bench(**entries):
    return {
        "date": "2026-11-25T08:01:02+00:00",
        "machine": {"processor": "Another CPU", "architecture": "x86_64", "system": "Linux", "cores": 16},
        "profile": "cpu",
        "command": ["python", "-m", "conversion", "bench"],
        "models": entries,
    }


def entry(metric="top1", ratio=3.1415):
    labelled = metric is not None
    return {
        "release": 4711,
        "twin": "tf2onnx fp32",
        "provider": "CPUExecutionProvider",
        "threads": 5,
        "batches": releases.side_by_side("64", 77.123, ratio),
        "original_rss_mb": 1234.5678,
        "twin_rss_mb": 345.678,
        "metric": metric,
        "items": 617 if labelled else None,
        "accuracy_original": 0.9135 if labelled else None,
        "accuracy_twin": 0.9119 if labelled else None,
        "accuracy_loss": 0.0016 if labelled else None,
        "accuracy_interval": [-0.0012, 0.0044] if labelled else None,
    }


def test_the_served_release_of_each_model_is_there_with_the_way_to_its_report(publish, tmp_path):
    for evidence in (releases.losing(), releases.winning()):
        publish("classifier", evidence, release_report(evidence))
    publish("other", releases.mixed() | {"name": "other"})
    output = tmp_path / "build" / "deep" / "report.html"
    write_overview(publish.repository, output, tmp_path / "none.json")
    page = Page(output.read_text())
    (link,) = page.references
    assert link.startswith("../../model%20repository/")
    assert (output.parent / unquote(link)).resolve() == publish.repository.root / "classifier" / "2" / "report.html"
    assert "classifier\n: The twin is 8.67 times as fast" in page.text
    assert "No candidate wins" not in page.text
    assert "no report" in page.text
    evidence = [releases.winning(), releases.mixed() | {"name": "other"}, {"releases": [1, 2]}]
    assert unfounded(page.text, evidence) == []


def test_what_was_measured_since_is_shown(publish, tmp_path):
    publish("classifier", releases.winning())
    found = bench(classifier=entry(), other=entry(None, 0.77))
    (tmp_path / "bench.json").write_text(json.dumps(found))
    write_overview(publish.repository, tmp_path / "report.html", tmp_path / "bench.json")
    text = Page((tmp_path / "report.html").read_text()).text
    for told in (
        "3.14\N{MULTIPLICATION SIGN}",
        "0.770\N{MULTIPLICATION SIGN}",
        "77.1 ms",
        "4711",
        "346 MB",
        "loss 0.16 %",
        "2026-11-25 08:01:02 UTC",
    ):
        assert told in text.replace("\N{NO-BREAK SPACE}", " ")
    assert unfounded(text, releases.winning(), found, {"releases": [1]}) == []


@pytest.mark.parametrize(
    ("evidence", "told"),
    [
        ("{", "is missing or broken"),
        (json.dumps(releases.winning() | {"schema": 1, "name": "damaged"}), "the evidence of damaged is of schema 1"),
    ],
)
def test_a_model_without_evidence_is_named_and_hides_no_other(publish, tmp_path, evidence, told):
    publish("damaged", evidence)
    publish("sound", releases.winning())
    text = Page(overview(served(publish.repository, tmp_path), None)).text
    assert told in text
    assert "sound\n: The twin is 8.67 times as fast" in text


def test_a_repository_of_nothing_but_damage_is_still_a_page(publish, tmp_path):
    publish("damaged", "{")
    assert "is missing or broken" in Page(overview(served(publish.repository, tmp_path), None)).text


def test_every_kind_of_release_fits_in(publish, tmp_path):
    made = {make.__name__: make() for make in releases.ALL}
    for name, evidence in made.items():
        publish(name, evidence)
    page = Page(overview(served(publish.repository, tmp_path), bench(hostile=entry(releases.HOSTILE))))
    assert page.references == []
    assert "script" not in page.tags
    assert unfounded(page.text, list(made.items()), entry(), {"date": "2026-11-25T08:01:02+00:00", "cores": 16}) == []


def test_a_repository_that_serves_nothing_is_an_error(tmp_path):
    with pytest.raises(PublishError, match="empty serves no model; publish one with convert"):
        write_overview(Repository(tmp_path / "empty"), tmp_path / "report.html", tmp_path / "bench.json")
    assert not (tmp_path / "report.html").exists()


def test_a_broken_bench_is_an_error_that_says_what_to_do(tmp_path):
    (tmp_path / "bench.json").write_text("{")
    with pytest.raises(PublishError, match=r"bench\.json is broken .*; run bench again, or remove it"):
        read_bench(tmp_path / "bench.json")


def test_a_page_that_cannot_be_written_is_an_error(publish, tmp_path):
    publish("classifier", releases.winning())
    (tmp_path / "file").write_text("")
    with pytest.raises(PublishError, match=r"report\.html cannot be written: "):
        write_overview(publish.repository, tmp_path / "file" / "report.html", tmp_path / "bench.json")


def test_the_command_writes_the_page_and_says_where(publish, tmp_path, capsys):
    from conversion.__main__ import main

    publish("classifier", releases.winning())
    output = tmp_path / "build" / "report.html"
    arguments = ["report", "--repository", str(publish.repository.root), "--output", str(output)]
    assert main([*arguments, "--bench", str(tmp_path / "none.json")]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert output.read_text().startswith("<!DOCTYPE html>")
    assert main(["report", "--repository", str(tmp_path / "empty"), "--output", str(output)]) == 9


def test_every_key_of_the_evidence_is_described():
    text = (Path(__file__).parents[4] / "docs" / "evidence.md").read_text()
    evidence = releases.eight_bits()
    for key in evidence:
        assert f"`{key}`" in text
    for table in ("search", "parity", "accuracy", "speed"):
        for key in evidence[table]:
            assert f"`{key}`" in text, f"{table}.{key}"
    one = evidence["search"]["candidates"][0]
    for key in (*one, *one["timings"]["1"], *evidence["speed"]["batches"]["1"]):
        assert f"`{key}`" in text or f"`candidates.{key}`" in text, key
