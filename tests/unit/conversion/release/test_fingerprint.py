import importlib.metadata
import sys
from dataclasses import replace

import pytest

from conversion.release import fingerprint as module
from conversion.release.fingerprint import fingerprint, fingerprint_of_built, sha256_folder, versions
from conversion.spec import AccuracySpec, SamplesSpec, SourceSpec


def test_another_target_is_another_release(spec):
    (spec.folder / "net.keras").write_bytes(b"weights")
    assert fingerprint(spec) == fingerprint(spec)
    assert fingerprint(spec)[0] != fingerprint(replace(spec, target="26.08"))[0]


def test_a_folders_hash_is_of_names_and_contents_alone(tmp_path):
    def folder(called, files):
        (tmp_path / called).mkdir()
        for name, content in files.items():
            (tmp_path / called / name).write_bytes(content)
        return sha256_folder(tmp_path / called)

    first = folder("a", {"model.onnx": b"graph", "model.onnx.data": b"weights"})
    assert folder("b", {"model.onnx": b"graph", "model.onnx.data": b"weights"}) == first
    assert folder("c", {"model.onnx": b"graph", "model.onnx.data": b"other"}) != first
    assert folder("d", {"model.onnx": b"graph", "model.data": b"weights"}) != first


@pytest.fixture
def home(spec):
    """A spec whose folder is one of several."""
    (spec.folder / "home").mkdir()
    (spec.folder / "home" / "net.keras").write_bytes(b"weights")
    return replace(spec, folder=spec.folder / "home")


@pytest.mark.parametrize(
    "named",
    [
        {"samples": SamplesSpec(file="../rows.dat")},
        {"accuracy": AccuracySpec(file="../rows.dat")},
        {"samples": SamplesSpec(generator="../rows.dat.py:make")},
        {"accuracy": AccuracySpec(generator="../rows.dat.py:make")},
        {"accuracy": AccuracySpec(metric="../rows.dat.py:score")},
    ],
)
def test_what_the_spec_names_counts_wherever_it_lies(home, named):
    spec = replace(home, **named)
    for name in ("rows.dat", "rows.dat.py"):
        (home.folder.parent / name).write_text("one")
    first = fingerprint(spec)[0]
    assert fingerprint(spec)[0] == first
    for name in ("rows.dat", "rows.dat.py"):
        (home.folder.parent / name).write_text("two")
    assert fingerprint(spec)[0] != first


@pytest.mark.parametrize("file", ["labels.csv", "images/1.png", "classes.json", "other.toml"])
def test_what_lies_beside_a_generator_counts(home, file):
    path = home.folder / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("one")
    first = fingerprint(home)[0]
    path.write_text("two")
    assert fingerprint(home)[0] != first


def test_weights_are_read_once(home, monkeypatch):
    read, real = [], module.sha256_file
    monkeypatch.setattr(module, "sha256_file", lambda path: read.append(path.name) or real(path))
    fingerprint(home)
    assert read.count("net.keras") == 1


def test_all_code_that_makes_proves_and_draws_a_release_counts(home, monkeypatch):
    read, real = set(), module.sha256_file
    monkeypatch.setattr(module, "sha256_file", lambda path: read.add(path) or real(path))
    fingerprint(home)
    files = {path.relative_to(module._HOME).as_posix() for path in read if path.is_relative_to(module._HOME)}
    assert files >= {
        "conversion/proof/parity.py",
        "conversion/report/templates/release.html",
        "pages/drawing.py",
        "pages/templates/style.css",
        "python_backend/hybrid/router.py",
        "python_backend/limits.py",
        "python_backend/onnxruntime/padding.py",
        "python_backend/original/loading.py",
    }
    assert not any("__pycache__" in file for file in files)


def built(spec, copies, before, **content):
    """The fingerprint of what was built of copies with this content."""
    for name, text in content.items():
        (copies / f"{name}.keras").write_text(text)
    return fingerprint_of_built(spec, before, copies)


@pytest.fixture
def copies(tmp_path):
    folder = tmp_path / "copies"
    folder.mkdir()
    return folder


def test_what_was_built_of_the_same_has_the_same_fingerprint(home, copies):
    before = fingerprint(home)
    (copies / "kept.json").write_text("what a factory writes beside its copy")
    (home.folder / "__pycache__").mkdir()
    (home.folder / "__pycache__" / "net.pyc").write_text("what Python writes beside it")
    assert built(home, copies, before, net="weights") == before


def test_what_was_built_is_what_was_copied(home, copies):
    before = fingerprint(home)
    found = built(home, copies, before, net="saved anew")
    (home.folder / "net.keras").write_text("saved anew")
    assert found == fingerprint(home) != before
    # Saved once more: nothing of that is in the release.
    (home.folder / "net.keras").write_text("and again")
    assert built(home, copies, before, net="saved anew") == found


@pytest.mark.parametrize("then", ["changed", "changed back"])
def test_what_was_built_while_labels_changed_is_like_nothing_else(home, copies, then):
    labels = home.folder / "labels.csv"
    labels.write_text("one")
    before = fingerprint(home)
    labels.write_text("two")
    digest, sources = built(home, copies, before, net="weights")
    assert sources == before[1]
    labels.write_text({"changed": "two", "changed back": "one"}[then])
    assert digest not in (before[0], fingerprint(home)[0])


def test_a_model_whose_files_are_gone_by_then_was_built_of_its_copies(home, copies):
    before = fingerprint(home)
    (home.folder / "net.keras").unlink()
    digest, sources = built(home, copies, before, net="weights")
    assert sources == before[1]
    assert digest != before[0]


USERS = [
    {"source": SourceSpec(format="torch_module", factory="some_package.nets:build")},
    {"samples": SamplesSpec(generator="some_package:make")},
    {"accuracy": AccuracySpec(generator="some_package.data:make")},
    {"accuracy": AccuracySpec(metric="some_package.scores:f1")},
]


@pytest.fixture
def importable(tmp_path, monkeypatch):
    """A folder that modules are found in; what it held is not found by the next test."""
    monkeypatch.syspath_prepend(tmp_path / "lib")
    yield tmp_path / "lib"
    assert "some_package" not in sys.modules  # it was not imported


@pytest.mark.parametrize("used", USERS)
def test_the_version_of_a_package_that_makes_something_counts(home, monkeypatch, used):
    spec = replace(home, **used)
    installed, real = {"some-package": "1.0", "onnx": "1.0"}, importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: {"some_package": ["some-package"]})
    monkeypatch.setattr(importlib.metadata, "version", lambda name: installed.get(name) or real(name))
    first = fingerprint(spec)[0]
    assert versions(spec)["some-package"] == "1.0"
    installed["some-package"] = "2.0"
    assert fingerprint(spec)[0] != first
    assert "some-package" not in versions(home)


@pytest.mark.parametrize(("used", "file"), [(USERS[0], "some_package/nets.py"), (USERS[1], "some_package.py")])
def test_the_code_of_a_package_without_a_version_of_its_own_counts(home, importable, used, file):
    path = importable / file
    path.parent.mkdir(parents=True)
    (path.parent / "__init__.py").write_text("")
    path.write_text("raise RuntimeError('one')")
    spec = replace(home, **used)
    first = fingerprint(spec)[0]
    assert fingerprint(spec)[0] == first
    path.write_text("raise RuntimeError('two')")
    assert fingerprint(spec)[0] != first


def test_an_onnx_runtime_for_gpus_is_one_too(spec, monkeypatch):
    def version(name):
        if name in ("onnxruntime-gpu", "onnx"):
            return "1.22.0"
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert versions(spec) == {"onnx": "1.22.0", "onnxruntime-gpu": "1.22.0"}
