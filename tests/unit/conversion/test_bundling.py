from dataclasses import replace

import pytest

from conversion.bundling import make_bundle, source_files
from conversion.errors import ArtefactError
from conversion.release.fingerprint import fingerprint
from conversion.spec import SourceSpec
from python_backend.original.bundle import read_bundle


def with_source(spec, **keys):
    return replace(spec, source=SourceSpec(**keys))


def test_a_bundle_holds_every_file_and_reads_back(spec, tmp_path):
    home = spec.folder
    (home / "net.py").write_text("def build(): ...")
    (home / "shards").mkdir()
    for name in ("b.safetensors", "a.safetensors", "index.json"):
        (home / "shards" / name).write_text(name)
    (home / "vocabulary.txt").write_text("words")
    made = with_source(spec, format="torch_module", factory="net.py:build", weights="shards", files=("vocabulary.txt",))
    target = tmp_path / "bundle"
    target.mkdir()
    bundle = make_bundle(made, target)
    assert bundle.weights == ("shards/a.safetensors", "shards/b.safetensors")
    assert read_bundle(target) == bundle
    found = {p.relative_to(target / "source").as_posix() for p in (target / "source").rglob("*") if p.is_file()}
    assert found == {"net.py", "vocabulary.txt", *bundle.weights}


def test_a_file_from_elsewhere_lies_under_its_own_name(spec, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "net.keras").write_text("x")
    nested = replace(with_source(spec, format="keras", path="../other/net.keras"), folder=tmp_path / "home")
    (tmp_path / "home").mkdir()
    assert list(source_files(nested)) == ["net.keras"]


@pytest.mark.parametrize("place", ["../shared/net.py", "{}/shared/net.py", "sub/net.py", "{}/also/sub/net.py"])
def test_the_factory_that_is_served_is_the_one_in_the_bundle(spec, tmp_path, place):
    home = tmp_path / "home"
    for folder in (home / "sub", tmp_path / "shared"):
        folder.mkdir(parents=True)
        (folder / "net.py").write_text(f"# of {folder.name}")
    (tmp_path / "also").symlink_to(home)
    made = with_source(spec, format="torch_module", factory=place.format(tmp_path) + ":build")
    target = tmp_path / "bundle"
    target.mkdir()
    bundle = make_bundle(replace(made, folder=home), target)
    file, _, attribute = bundle.factory.partition(":")
    assert (file, attribute) == ("net.py" if "shared" in place else "sub/net.py", "build")
    assert (target / "source" / file).read_text() == f"# of {'shared' if 'shared' in place else 'sub'}"


def test_weights_may_have_their_suffix_in_capitals(spec):
    for name in ("W.PTH", "V.SafeTensors"):
        (spec.folder / name).write_text("weights")
        made = with_source(spec, format="torch_module", factory="p.q:f", weights=name)
        assert list(source_files(made)) == [name]


def test_a_factory_of_an_installed_module_keeps_its_name(spec, tmp_path):
    made = with_source(spec, format="torch_module", factory="package.module:Net.build")
    assert make_bundle(made, tmp_path).factory == "package.module:Net.build"


def test_a_link_is_a_file_by_its_own_name(spec, tmp_path):
    home, outside = tmp_path / "home", tmp_path / "blobs"
    for folder in (home / "versions" / "3", home / "blobs", outside):
        folder.mkdir(parents=True)
    (home / "versions" / "3" / "net.py").write_text("def build(): ...")
    (home / "blobs" / "0badc0de").write_text("weights")
    (outside / "0badc0de").write_text("words")
    (home / "latest").symlink_to("versions/3")
    (home / "net.py").symlink_to("latest/net.py")
    (home / "w.safetensors").symlink_to("blobs/0badc0de")
    (home / "vocabulary.txt").symlink_to(outside / "0badc0de")
    keys = {"factory": "net.py:build", "weights": "w.safetensors", "files": ("vocabulary.txt", "latest")}
    made = replace(with_source(spec, format="torch_module", **keys), folder=home)
    target = tmp_path / "bundle"
    target.mkdir()
    bundle = make_bundle(made, target)
    assert (bundle.factory, bundle.weights) == ("net.py:build", ("w.safetensors",))
    assert list(source_files(made)) == ["latest/net.py", "net.py", "vocabulary.txt", "w.safetensors"]
    assert not any(path.is_symlink() for path in (target / "source").rglob("*"))
    first = fingerprint(made)[0]
    (home / "blobs" / "0badc0de").write_text("other weights")
    assert fingerprint(made)[0] != first


def test_a_saved_model_behind_a_link_lies_under_the_links_name(spec):
    (spec.folder / "versions" / "3").mkdir(parents=True)
    (spec.folder / "versions" / "3" / "saved_model.pb").write_text("graph")
    (spec.folder / "latest").symlink_to("versions/3")
    assert list(source_files(with_source(spec, format="saved_model", path="latest"))) == ["latest/saved_model.pb"]


def test_a_place_in_a_package_is_found_without_importing_it(spec):
    made = with_source(spec, format="keras", path="package:conversion/bundling.py")
    assert list(source_files(made)) == ["bundling.py"]


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"format": "keras", "path": "absent.h5"}, r"absent\.h5 does not exist"),
        ({"format": "keras", "path": "package:no_such_package/x"}, "package 'no_such_package' .* is not installed"),
        ({"format": "torch_module", "factory": "net.py:f"}, r"net\.py does not exist"),
        ({"format": "torch_module", "factory": "p.q:f", "weights": "empty"}, "'empty' holds no weights"),
    ],
)
def test_what_is_not_there_is_named(spec, keys, sentence):
    (spec.folder / "empty").mkdir()
    with pytest.raises(ArtefactError, match=sentence):
        source_files(with_source(spec, **keys))


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (("common.py", "../shared/common.py"), "common.py and .*shared/common.py would both be 'common.py' in the"),
        (
            ("package:conversion/__init__.py", "package:serving/__init__.py"),
            "would both be '__init__.py' in the release",
        ),
        (("../shared", "shared"), "would both be 'shared/common.py' in the release"),
        (
            ("../shared/common.py", "../elsewhere/common.py"),
            "would lie below the file .*shared/common.py in the release",
        ),
        (("..",), "'..' would lie outside of the release"),
        (("package:conversion/..",), "would lie outside of the release"),
        (("/",), "'/' would lie outside of the release"),
    ],
)
def test_two_files_for_one_place_and_files_for_no_place_are_refused(spec, tmp_path, files, sentence):
    home = tmp_path / "home"
    for file in ("home/common.py", "shared/common.py", "home/shared/common.py", "elsewhere/common.py/x"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(file)
    made = replace(with_source(spec, format="torch_module", factory="p.q:f", files=files), folder=home)
    with pytest.raises(ArtefactError, match=sentence):
        source_files(made)


def test_one_file_that_is_named_twice_is_one_file(spec):
    (spec.folder / "net.py").write_text("def build(): ...")
    made = with_source(spec, format="torch_module", factory="net.py:build", files=("net.py", "."))
    assert "net.py" in source_files(made)
    assert not any(inside.startswith(".") for inside in source_files(made))


def test_a_folder_behind_a_link_belongs_to_the_model_and_its_fingerprint(spec, tmp_path):
    model, weights = spec.folder / "net", tmp_path / "weights"
    for folder in (model, weights):
        folder.mkdir()
    (model / "saved_model.pb").write_text("graph")
    (weights / "variables.index").write_text("one")
    (model / "variables").symlink_to(weights)
    made = with_source(spec, format="saved_model", path="net")
    assert list(source_files(made)) == ["net/saved_model.pb", "net/variables/variables.index"]
    first = fingerprint(made)[0]
    (weights / "variables.index").write_text("two")
    assert fingerprint(made)[0] != first
    (weights / "again").symlink_to(model)
    with pytest.raises(ArtefactError, match=r"the link .*/net/variables/again leads back to .*/net, which it lies in"):
        source_files(made)


def test_the_fingerprint_changes_with_the_spec_the_files_and_nothing_else(spec):
    (spec.folder / "net.keras").write_text("one")
    first, sources = fingerprint(spec)
    assert list(sources) == ["net.keras"]
    assert fingerprint(spec)[0] == first
    (spec.folder / "model.toml").write_text("# what it says is in the spec")
    for aside in (".cache", "__pycache__"):
        (spec.folder / aside).mkdir()
        (spec.folder / aside / "net.pyc").write_text("not part of the model")
    assert fingerprint(spec)[0] == first
    assert fingerprint(replace(spec, description="other"))[0] != first
    (spec.folder / "net.keras").write_text("two")
    assert fingerprint(spec)[0] != first
