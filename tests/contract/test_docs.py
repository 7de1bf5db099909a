"""The docs name every key, option and target that there is."""

import argparse
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from conversion import spec
from conversion.__main__ import _parser
from conversion.arrangements.arrangement import Arrangement
from conversion.arrangements.choice import Figures, Met
from conversion.arrangements.settling import Settled
from conversion.spec.reader import SUFFIXES

MET = Met(one_p50_ms=1.0, one_p99_ms=1.0, per_s=1.0, p50_ms=1.0, p99_ms=1.0)
DOCS = Path(__file__).parents[2] / "docs"


def keys(cls):
    """Every key that a table of model.toml may have, of all tables."""
    for field in fields(cls):
        yield field.name
        hint = get_type_hints(cls)[field.name]
        for kind in (hint, *get_args(hint)):
            if is_dataclass(kind):
                yield from keys(kind)


@pytest.mark.parametrize(
    "key",
    sorted(
        set(keys(spec.ModelSpec))
        - {"folder", "stated"}
        - {"source", "samples", "parity", "accuracy", "search", "export", "serving", "gpu", "shadow", "tuned"}
    ),
)
def test_every_key_of_a_spec_is_described(key):
    assert f"`{key}`" in (DOCS / "model-toml.md").read_text()


@pytest.mark.parametrize(
    "table",
    [
        "source",
        "inputs",
        "samples",
        "parity",
        "accuracy",
        "search",
        "export",
        "serving",
        r"serving\.gpu",
        r"serving\.shadow",
    ],
)
def test_every_table_of_a_spec_is_described(table):
    assert re.search(rf"^## `\[+{table}\]+`", (DOCS / "model-toml.md").read_text(), re.MULTILINE)


def test_every_key_of_the_evidence_is_described(tmp_path):
    from conversion.release.evidence import make_evidence

    timing = {"ms": 1.0, "range_ms": [1, 1], "ratio": 1.0, "ratio_quartiles": [1, 1], "rounds": 1, "others": 0.0}
    built = {key: [] for key in ("inputs", "outputs", "trials", "unfit")}
    built |= {"graph": {}, "parity": {"comparisons": []}, "seconds": 1.0, "accuracy": None, "memory": {}}
    built |= {
        "chosen": {"name": "", "precision": "fp32", "parity": {}},
        "original": {"1": timing},
        "timings": {"1": timing},
    }
    model = spec.ModelSpec("net", tmp_path, spec.SourceSpec(format="keras"))
    text = (DOCS / "evidence.md").read_text()
    usual = Arrangement(2, 1, True, 32)
    serving = Settled(usual, "measured", figures=(Figures(usual, 1, MET, 1, (1, 1), ""),))
    evidence = make_evidence(model, built, "", {}, tmp_path, serving=serving.facts())
    told = {*evidence, *evidence["parity"], *evidence["serving"], *evidence["serving"]["arrangements"][0]}
    for key in told:
        assert f"`{key}" in text


def options(parser):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield name
                yield from options(inner)
        elif action.dest != "help":
            yield max(action.option_strings, key=len) if action.option_strings else action.dest.upper()


@pytest.mark.parametrize("option", sorted(set(options(_parser()))))
def test_every_option_of_the_conversion_is_described(option):
    assert f"`{option}" in (DOCS / "conversion.md").read_text() + (DOCS / "tuning.md").read_text()


def test_every_command_of_the_conversion_is_in_the_table():
    [commands] = [action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)]
    section = (DOCS / "conversion.md").read_text().partition("\n## Commands\n")[2].partition("\n\n| option |")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(commands.choices)


def test_every_suffix_of_a_model_is_described():
    [row] = re.findall(r"^\| `path` \|.*", (DOCS / "model-toml.md").read_text(), re.MULTILINE)
    assert [suffix for suffix in SUFFIXES if f"`{suffix}`" not in row] == []


def test_every_exit_code_of_the_conversion_is_described():
    from conversion.errors import by_name

    text = (DOCS / "conversion.md").read_text()
    for code in {cls.exit_code for cls in by_name().values()} | {0, 2, 130}:
        assert re.search(rf"^\| {code} \|", text, re.MULTILINE)
