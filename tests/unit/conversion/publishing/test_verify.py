"""`verify` says of each release all that is wrong with it, and where."""

import json
import shutil

import numpy as np
import onnx
import pytest

from conversion.__main__ import main
from conversion.proof.parity import Case
from conversion.publishing.repository import Repository
from conversion.release.fingerprint import sha256_file
from conversion.release.golden import GOLDEN, write_golden
from conversion.release.pbtxt import ROLES
from python_backend.integrity import write_sums

from ..released import flip, release


@pytest.fixture
def root(tmp_path, spec, affine):
    """A repository with releases 1 and 2 of 'net', 2 served, and a model that was never published."""
    repository = Repository(tmp_path / "repository")
    with repository.locked():
        assert [release(repository, spec, affine) for _ in range(2)] == [1, 2]
    (repository.root / "by_hand" / "1").mkdir(parents=True)
    (repository.root / "by_hand" / "config.pbtxt").write_text('name: "by_hand"')
    return repository.root


@pytest.fixture
def verify(root, capsys):
    """Run the command; gives the exit code, its lines and its messages."""

    def run(*arguments):
        code = main(["verify", "--quiet", *arguments, "--repository", str(root)])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err

    return run


def test_intact_releases_are_a_line_each(verify):
    assert verify() == (0, ["net release 1: ok", "net release 2 (served): ok"], "")
    assert verify("net", "--skip-originals") == (0, ["net release 1: ok", "net release 2 (served): ok"], "")


def test_the_replay_leaves_nothing_in_the_release(verify, root):
    before = sorted(root.rglob("*"))
    assert verify()[0] == 0
    assert sorted(root.rglob("*")) == before


FILES = [
    "net/1/golden.npz",
    "net/1/evidence.json",
    "net/1/model.py",
    "net/1/config.pbtxt",
    "net_onnx/1/model.onnx",
    "net_onnx/1/config.pbtxt",
    "net_original/1/loading.py",
    "net_original/1/source/weights",
]


@pytest.mark.parametrize("file", FILES)
def test_a_flipped_bit_is_told_with_its_file(verify, root, file):
    flip(root / file)
    code, lines, error = verify("--skip-replay")
    assert code == 11
    assert lines[0].startswith(f"net release 1: {file}: expected SHA-256 ")
    assert lines[1] == "net release 2 (served): ok"
    assert error == "error: 1 of 2 releases do not hold; convert the models again, or roll back to an ok one\n"


@pytest.mark.parametrize("role", ROLES)
def test_a_flipped_bit_in_the_list_is_told_from_one_in_a_file(verify, root, role):
    folder = root / f"net{ROLES[role]}" / "1"
    text = (folder / "SHA256SUMS").read_text()
    flip(folder / "SHA256SUMS", text.index("  model") - 1 if "  model" in text else text.index("  loading") - 1)
    code, [line, _], _ = verify("--skip-replay")
    assert code == 11
    assert "expected SHA-256" in line
    assert "is what evidence.json says, so that it is SHA256SUMS that changed" in line


def test_everything_that_is_wrong_is_told(verify, root):
    flip(root / "net_onnx" / "2" / "model.onnx")
    (root / "net_original" / "2" / "loading.py").unlink()
    (root / "net" / "2" / "more").write_text("")
    flip(root / "net" / "config.pbtxt")
    code, [_, line], _ = verify()
    assert code == 11
    assert line.startswith("net release 2 (served): ")
    for part in (
        "net_onnx/2/model.onnx: expected SHA-256",
        "net_original/2/loading.py: expected SHA-256",
        "found no such file",
        "net/2/more: is not listed in SHA256SUMS",
        "net/config.pbtxt: is not the configuration of release 2, which it pins",
    ):
        assert part in line


def test_whoever_rewrote_the_list_too_is_found_by_the_evidence(verify, root):
    (root / "net_original" / "1" / "source" / "weights").write_text("1 2 3 5")
    (root / "net_onnx" / "1" / "more").write_text("")
    write_sums(root / "net_original" / "1")
    write_sums(root / "net_onnx" / "1")
    code, [line, _], _ = verify("--skip-replay")
    assert code == 11
    assert "net_original/1/source/weights: is not what evidence.json says" in line
    assert "net_onnx/1/more: is not what evidence.json says" in line


def forged(root, change):
    """Change release 1 and forge all its checksums, so that only a replay can tell."""
    change()
    evidence = root / "net" / "1" / "evidence.json"
    facts = json.loads(evidence.read_text())
    for path in facts["files"]:
        role, _, file = path.partition("/")
        facts["files"][path] = sha256_file(root / f"net{ROLES[role]}" / "1" / file)
    evidence.write_text(json.dumps(facts))
    for suffix in ROLES.values():
        write_sums(root / f"net{suffix}" / "1")


def test_a_twin_that_answers_otherwise_is_found_by_the_replay(verify, root):
    path = root / "net_onnx" / "1" / "model.onnx"
    graph = onnx.load(str(path))
    graph.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.float32([1, 2, 3, 5]), "w"))
    forged(root, lambda: onnx.save(graph, str(path)))
    assert verify("--skip-replay")[0] == 0
    code, [line, _], _ = verify("--skip-originals")
    assert code == 11
    assert line.startswith("net release 1: net_onnx/1: output 'y' at x[2, 4]: 1 of 8 values differ by more than")


def test_an_original_that_answers_otherwise_is_found_by_the_replay(verify, root):
    forged(root, lambda: (root / "net_original" / "1" / "source" / "weights").write_text("1 2 3 5"))
    assert verify("--skip-originals")[0] == 0
    code, [line, _], _ = verify()
    assert code == 11
    assert line.startswith("net release 1: net_original/1: output 'y' at x[2, 4]: 1 of 8 values differ by more than")


def test_an_original_that_cannot_be_run_says_why(verify, root):
    forged(root, lambda: (root / "net_original" / "1" / "source" / "weights").write_text("no numbers"))
    code, [line, _], _ = verify()
    assert code == 11
    assert "net_original/1: the original cannot be run (exit status 1): ValueError: could not convert string" in line


def test_a_twin_that_cannot_be_loaded_says_why(verify, root):
    forged(root, lambda: (root / "net_onnx" / "1" / "model.onnx").write_text("nothing"))
    code, [line, _], _ = verify("--skip-originals")
    assert code == 11
    assert "net_onnx/1: the twin cannot be loaded: " in line


def test_samples_that_are_none_are_said(verify, root):
    forged(root, lambda: (root / "net" / "1" / GOLDEN).write_text("nothing"))
    code, [line, _], _ = verify()
    assert code == 11
    assert line.count("golden.npz holds no golden samples") == 1


def test_damaged_code_is_not_run(verify, root, tmp_path):
    mark = tmp_path / "ran"
    with (root / "net_original" / "1" / "loading.py").open("a") as file:
        file.write(f"open({str(mark)!r}, 'w')\n")
    assert verify()[0] == 11
    assert not mark.exists()


def test_a_golden_sample_within_the_tolerance_holds(verify, root):
    x = np.float32([[1, 1, 1, 1]])
    close = Case({"x": x}, {"y": x * np.float32([1, 2, 3, 4.0001])})
    forged(root, lambda: write_golden(close, root / "net" / "1" / GOLDEN))
    assert verify()[0] == 0


@pytest.mark.parametrize("suffix", ROLES.values())
@pytest.mark.parametrize("lost", [False, True])
def test_a_configuration_that_was_edited_or_is_gone_is_told_with_the_served_release(verify, root, suffix, lost):
    path = root / f"net{suffix}" / "config.pbtxt"
    text = path.read_text()
    path.write_text(text.replace("max_batch_size: 32", "max_batch_size: 16"))
    if lost:
        path.unlink()
    code, lines, _ = verify("--skip-replay")
    assert code == 11
    what = "cannot be read (No such file or directory)" if lost else "is not the configuration of release 2, which it"
    assert any(f"net{suffix}/config.pbtxt: {what}" in line for line in lines)


@pytest.mark.parametrize("suffix", ROLES.values())
@pytest.mark.parametrize("pinned", ["1", "1\n    versions: 2"])
def test_pins_that_disagree_are_told(verify, root, suffix, pinned):
    path = root / f"net{suffix}" / "config.pbtxt"
    path.write_text(path.read_text().replace("versions: 2", f"versions: {pinned}"))
    code, lines, _ = verify("--skip-replay")
    assert code == 11
    assert any(f"net{suffix} pins {', '.join(pinned.split()[::2])}" in line for line in lines)
    assert any("all three must pin the same release" in line for line in lines)


@pytest.mark.parametrize("version", ["3", "6"])
def test_a_pinned_release_that_is_not_there_is_told(verify, root, version):
    for suffix in ROLES.values():
        path = root / f"net{suffix}" / "config.pbtxt"
        path.write_text(path.read_text().replace("versions: 2", f"versions: {version}"))
    code, lines, _ = verify("--skip-replay")
    assert code == 11
    assert lines[1:] == ["net release 1: ok", "net release 2: ok"]
    assert lines[0].startswith(f"net: net_onnx/config.pbtxt pins release {version}, which is not on disk; ")


def test_half_a_release_is_told(verify, root):
    shutil.rmtree(root / "net_original" / "1")
    code, [line, _], _ = verify("--skip-replay")
    assert code == 11
    assert "net_original/1/SHA256SUMS: cannot be read (No such file or directory)" in line


def test_names_choose_and_unknown_ones_are_said(verify, root):
    assert verify("by_hand")[0] == 9
    code, lines, error = verify("net", "other")
    assert (code, lines) == (9, [])
    assert error == f"error: {root} holds no release of 'other'; publish it with convert\n"


def test_a_repository_without_releases_is_no_success(tmp_path, capsys):
    assert main(["verify", "--repository", str(tmp_path)]) == 9
    assert "holds no release to verify" in capsys.readouterr().err
