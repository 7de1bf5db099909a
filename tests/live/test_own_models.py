"""A user's own models, one for each format: at most 8 lines of model.toml, `make convert`, and three served models."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from understudy_client import HybridClient

from conversion.interface import Facts
from conversion.proof.samples import batch_maker
from conversion.publishing.repository import Repository
from conversion.release.evidence import EVIDENCE, read_evidence
from conversion.spec.reader import read_spec
from serving import ModelControl, TritonServer

SOURCES = sorted(path.parent for path in (Path(__file__).parents[1] / "own_models").glob("*/model.toml"))
# One of each framework.
SEARCHED = ("torch_tokens", "keras3_two_inputs")
# As if each make.py were run in its folder.
MAKE = """
import os, runpy, sys
for folder in sys.argv[1:]:
    os.chdir(folder)
    sys.path[0] = folder
    runpy.run_path("make.py", run_name="__main__")
"""
QUIET = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The models' folders with their artefacts made."""
    home = tmp_path_factory.mktemp("own_models")
    made = {source.name: Path(shutil.copytree(source, home / source.name)) for source in SOURCES}
    # A framework takes seconds to import: once for all that it makes.
    ours = {name for name in made if "import torch" in (made[name] / "make.py").read_text()}
    for names in (ours, made.keys() - ours):
        command = [sys.executable, "-c", MAKE, *(str(made[name]) for name in sorted(names))]
        subprocess.run(command, env=QUIET, check=True, timeout=360)
    return made


@pytest.fixture(scope="module")
def repository(folders, tmp_path_factory):
    """A repository that each folder was published to, by the command of the README."""
    root = tmp_path_factory.mktemp("own") / "repository"
    for name, folder in folders.items():
        # A server each to measure on would take two minutes: test_arrangements.py has one. A search each, three more.
        shorter = ["NO_REHEARSAL=1", *([] if name in SEARCHED else ["SEARCH=off"])]
        done = subprocess.run(
            ["make", "--silent", "convert", f"MODEL={folder}", f"REPOSITORY={root}", *shorter],
            check=True,
            timeout=300,
            capture_output=True,
            text=True,
        )
        assert re.search(rf"^\[{name} 0:\d\d\] loading the original$", done.stderr, re.MULTILINE)
    return root


@pytest.fixture(scope="module")
def server(repository, tmp_path_factory):
    with TritonServer(repository, log_path=tmp_path_factory.mktemp("log") / "triton.log") as running:
        yield running


def input_facts_of(root, name):
    """The inputs of a published model, as its evidence tells them."""
    evidence = read_evidence(Repository(root).release_folder(name, "hybrid", 1) / EVIDENCE)
    return [Facts(i["name"], i["dtype"], tuple(i["shape"]), i["range"]) for i in evidence["inputs"]]


def test_every_format_is_there():
    assert len(SOURCES) == 7
    for source in SOURCES:
        assert len([line for line in (source / "model.toml").read_text().splitlines() if line.strip()]) <= 8


@pytest.mark.parametrize("name", [source.name for source in SOURCES])
def test_hybrid_twin_and_original_answer_alike(server, repository, folders, name):
    spec = read_spec(folders[name])
    make = batch_maker(spec, input_facts_of(repository, name))
    with HybridClient(server.grpc_url, timeout_s=60) as client:
        for number, rows in enumerate((1, 3, 8)):
            inputs = make(rows, number)
            hybrid = client.predict(inputs, model=name)
            original = client.predict(inputs, model=f"{name}_original")
            twin = client.predict(inputs, model=f"{name}_onnx")
            assert hybrid.served_by == "onnx"
            assert list(hybrid.outputs) == list(twin.outputs) == list(original.outputs)
            for output, expected in original.outputs.items():
                assert expected.shape[0] == rows
                for got in (hybrid.outputs[output], twin.outputs[output]):
                    assert got.dtype == expected.dtype
                    if expected.dtype == object:
                        assert got.tolist() == expected.tolist()
                    else:
                        np.testing.assert_allclose(got, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["saved_model_labels", "torch_tokens"])
def test_the_original_answers_while_the_twin_is_unloaded(server, repository, folders, name):
    inputs = batch_maker(read_spec(folders[name]), input_facts_of(repository, name))(2, 0)
    with HybridClient(server.grpc_url, timeout_s=60) as client, ModelControl(server.grpc_url) as control:
        before = client.predict(inputs, model=name)
        control.unload(f"{name}_onnx")
        during = client.predict(inputs, model=name)
        control.load(f"{name}_onnx")
    assert (before.served_by, during.served_by) == ("onnx", "original")
    for output, expected in before.outputs.items():
        if expected.dtype == object:
            assert during.outputs[output].tolist() == expected.tolist()
        else:
            np.testing.assert_allclose(during.outputs[output], expected, atol=1e-4, rtol=1e-3)


def test_converting_again_changes_nothing(folders, repository):
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*") if path.is_file()}
    done = subprocess.run(
        ["make", "--silent", "convert", f"MODEL={folders['torch_tokens']}", f"REPOSITORY={repository}"],
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "torch_tokens: unchanged, release 1 holds it\n"
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*") if path.is_file()} == before


def test_every_format_is_verified_and_replayed_from_what_is_on_disk(repository):
    done = subprocess.run(
        ["make", "--silent", "verify", f"REPOSITORY={repository}"],
        check=True,
        timeout=300,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [f"{source.name} release 1 (served): ok" for source in SOURCES]
