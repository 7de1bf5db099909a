"""A published version against its SHA256SUMS, and the config.pbtxt that pins it: whatever changes is noticed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from python_backend.integrity import SUMS, ReleaseDamaged, damages, pins, require_intact, write_sums

CONFIG = (
    'name: "net"\nbackend: "python"\nmax_batch_size: 8\nparameters {\n  key: "a"\n  value { string_value: "b" }\n}\n'
)
PIN = "version_policy {\n  specific {\n    versions: 2\n  }\n}\n"
FILES = {
    "model.py": "print('hello')\n",
    "weights.bin": "\x00\x01" * 40,
    "source/deep/with space.txt": "text",
    "config.pbtxt": CONFIG,
}


def published(root: Path, versions=(2,), pin=PIN) -> Path:
    """A model with these versions on disk, pinned as publishing pins; gives the directory of the last."""
    for version in versions:
        for name, content in FILES.items():
            path = root / "net" / str(version) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        write_sums(root / "net" / str(version))
    (root / "net" / "config.pbtxt").write_text(CONFIG + pin)
    return root / "net" / str(versions[-1])


@pytest.fixture
def version(tmp_path):
    directory = published(tmp_path)
    require_intact(directory)
    return directory


def told(directory, suffix=""):
    with pytest.raises(ReleaseDamaged) as caught:
        require_intact(directory, suffix)
    return str(caught.value)


def test_coreutils_reads_the_list_whatever_the_files_are_called(tmp_path):
    for name in ("-n", "a  b", "back\\slash", "new\nline", "ünïcode", os.fsdecode(b"\xff"), ".hidden", "*", "in/ner"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name.encode("utf-8", "surrogateescape").hex())
    write_sums(tmp_path)
    require_sums = ["sha256sum", "--check", "--strict", "--warn", SUMS]
    done = subprocess.run(require_sums, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done
    assert done.stdout.count(b": OK\n") == 9
    assert damages(tmp_path) == []
    (tmp_path / "new\nline").write_text("other")
    assert [damage.file for damage in damages(tmp_path)] == ["new\\nline"]


def flipped(path: Path, position: int) -> None:
    """Flip bit `position` of a file."""
    content = bytearray(path.read_bytes())
    content[position // 8] ^= 1 << position % 8
    path.write_bytes(content)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_one_flipped_bit_in_any_file_is_noticed(version, data):
    files = sorted(path for path in version.parent.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    position = data.draw(st.integers(0, path.stat().st_size * 8 - 1))
    flipped(path, position)
    told(version)
    flipped(path, position)
    require_intact(version)


@pytest.mark.parametrize("file", [SUMS, "../config.pbtxt"])
def test_no_bit_of_the_list_or_of_the_pinning_configuration_can_flip_unseen(version, file):
    for position in range((version / file).stat().st_size * 8):
        flipped(version / file, position)
        told(version)
        flipped(version / file, position)
    require_intact(version)


def remove(directory):
    (directory / "weights.bin").unlink()


def add(directory):
    (directory / "source" / "more.txt").write_text("")


def cache(directory):
    (directory / "__pycache__.py").write_text("")


def link_to_folder(directory):
    (directory / "link").symlink_to(directory.parent, target_is_directory=True)


def pipe(directory):
    (directory / "weights.bin").unlink()
    os.mkfifo(directory / "weights.bin")


def dangling(directory):
    (directory / "model.py").unlink()
    (directory / "model.py").symlink_to("gone")


def no_list(directory):
    (directory / SUMS).unlink()


def garbage(directory):
    (directory / SUMS).write_bytes(b"\xff" + (directory / SUMS).read_bytes())


def unordered(directory):
    (directory / SUMS).write_bytes(b"".join(reversed((directory / SUMS).read_bytes().splitlines(keepends=True))))


def unpinned(directory):
    (directory.parent / "config.pbtxt").write_text(CONFIG)


def edited(directory):
    (directory.parent / "config.pbtxt").write_text(CONFIG.replace("8", "9") + PIN)


def pinned_in_other_words(directory):
    (directory.parent / "config.pbtxt").write_text(CONFIG + "version_policy { specific { versions: 2 } }\n")


def without_root(directory):
    (directory.parent / "config.pbtxt").unlink()


def without_own(directory):
    (directory / "config.pbtxt").unlink()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (remove, "weights.bin: expected SHA-256 48a75c0c919d…, found no such file;"),
        (add, "source/more.txt: is not listed in SHA256SUMS;"),
        (cache, "__pycache__.py: is not listed in SHA256SUMS;"),
        (link_to_folder, "link: is not listed in SHA256SUMS;"),
        (pipe, "weights.bin: expected SHA-256 48a75c0c919d…, found no plain file;"),
        (dangling, "found no plain file;"),
        (no_list, "SHA256SUMS: cannot be read (No such file or directory);"),
        (garbage, "SHA256SUMS: line 1 is not a checksum and a name;"),
        (unordered, "SHA256SUMS: is not as it was written;"),
        (unpinned, "../config.pbtxt: pins no release in the words that publishing writes;"),
        (edited, "../config.pbtxt: is not the configuration of release 2, which it pins;"),
        (pinned_in_other_words, "../config.pbtxt: pins no release in the words that publishing writes;"),
        (without_root, "../config.pbtxt: cannot be read (No such file or directory);"),
        (without_own, "../2/config.pbtxt: cannot be read (No such file or directory);"),
    ],
)
def test_every_kind_of_damage_is_one_sentence_that_names_the_file(version, damage, sentence):
    damage(version)
    found = told(version)
    assert found.startswith(f"{version} is not what was published: ")
    assert sentence in found
    assert found.endswith("; convert the model again, or roll back to a release that is intact")


def test_of_much_damage_three_are_told_and_the_rest_counted(version):
    for name in FILES:
        (version / name).write_text("other")
    found = told(version)
    assert found.count("expected SHA-256") == 3
    # The fourth file, and the configuration that no longer is the release's.
    assert "; and 2 more; convert the model again" in found


def test_byte_code_that_python_writes_is_no_damage(version):
    for folder in (version, version / "source"):
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"code")
    require_intact(version)


def test_a_file_in_its_place_is_neither_listed_nor_missed(version):
    listed = (version / SUMS).read_bytes()
    for folder in (version, version / "source"):
        (folder / "__pycache__").write_text("no byte code here")
    require_intact(version)
    write_sums(version)
    assert (version / SUMS).read_bytes() == listed


def test_a_directory_that_was_not_published_is_left_alone(version):
    shutil.rmtree(version)
    version.mkdir()
    (version / "model.onnx").write_text("hand-made")
    require_intact(version)
    (version.parent / "config.pbtxt").unlink()
    require_intact(version)


def test_with_a_suffix_only_those_files_are_read_again(version):
    (version / "weights.bin").write_text("other")
    require_intact(version, ".py")
    (version / "model.py").write_text("other")
    assert "model.py: expected SHA-256" in told(version, ".py")
    (version / "model.py").unlink()
    assert "model.py: expected SHA-256" in told(version, ".py")


def test_while_two_releases_are_pinned_the_configuration_is_the_newer_ones(tmp_path):
    both = PIN.replace("    versions: 2\n", "    versions: 1\n    versions: 2\n")
    new = published(tmp_path, versions=(1, 2), pin=both)
    old = new.with_name("1")
    assert pins(tmp_path / "net" / "config.pbtxt") == (1, 2)
    require_intact(old)
    require_intact(new)
    newer = CONFIG.replace("8", "16")
    (new / "config.pbtxt").write_text(newer)
    write_sums(new)
    (tmp_path / "net" / "config.pbtxt").write_text(newer + both)
    require_intact(old)
    require_intact(new)


@pytest.mark.parametrize("text", ["", CONFIG, "version_policy { specific { versions: 2 } }\n"])
def test_no_pins_are_read_from_other_words(tmp_path, text):
    (tmp_path / "config.pbtxt").write_text(text)
    assert pins(tmp_path / "config.pbtxt") == ()
    assert pins(tmp_path / "none") == ()


def test_one_file_is_what_all_three_packages_load():
    home = Path(__file__).parents[3] / "python_backend"
    for package in ("hybrid", "original", "onnxruntime"):
        link = home / package / "integrity.py"
        assert link.is_symlink()
        assert link.resolve() == home / "integrity.py"
