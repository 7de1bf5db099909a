"""One flipped bit in a published file: the load is refused with a sentence, and everybody else serves on."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from understudy_client import HybridClient

from conversion.__main__ import main
from conversion.proof.parity import Case
from conversion.release.golden import read_golden, write_golden
from serving import TritonServer
from serving.errors import LoadFailed

SPEC = """
name = "whole"
inputs = [{ name = "x", dtype = "float32", shape = ["batch", 4] }]
outputs = [{ name = "y" }]
[source]
factory = "net.py:build"
weights = "weights.pth"
[serving]
max_batch_size = 8
instances = 1
threads = 1
dynamic_batching = true
[search]
level = "off"
"""
NET = "import torch\n\ndef build():\n    return torch.nn.Linear(4, 2)\n"
X = np.arange(8, dtype=np.float32).reshape(2, 4)
MODELS = ("whole", "whole_onnx", "whole_original")


@dataclass(frozen=True)
class Published:
    """A model with a release in the running server, and another one to publish over it."""

    triton: object
    folder: Path

    def convert(self, seed: int, *more: str) -> int:
        torch.manual_seed(seed)
        torch.save(torch.nn.Linear(4, 2).state_dict(), self.folder / "weights.pth")
        build = ("--build", str(self.folder.parent / "build"))
        return main(["convert", str(self.folder), *self.arguments, *build, *more])

    @property
    def root(self) -> Path:
        return self.triton.repository

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("--repository", str(self.root), "--server", self.triton.server.grpc_url)

    def verify(self, *more: str) -> int:
        return main(["verify", "whole", "--quiet", "--repository", str(self.root), *more])

    def ask(self) -> set[str]:
        """Who answers, by the client."""
        with HybridClient(self.triton.server.grpc_url, model="whole", retries=0) as client:
            served_by = client.predict(X).served_by
        return {served_by} if isinstance(served_by, str) else set(served_by)

    def reload(self, *models: str) -> None:
        with ThreadPoolExecutor(len(models)) as pool:
            list(pool.map(self.triton.control.reload, models))


@pytest.fixture(scope="module")
def published(triton, tmp_path_factory):
    folder = tmp_path_factory.mktemp("integrity") / "whole"
    folder.mkdir()
    (folder / "model.toml").write_text(SPEC)
    (folder / "net.py").write_text(NET)
    made = Published(triton, folder)
    assert made.convert(0, "--no-rehearsal") == 0
    yield made
    triton.drop(*MODELS)


@pytest.fixture
def flip(published):
    """Flip one bit of a file of the release; it is put back, and served again, at the end."""
    before = {}

    def run(file, position=None):
        path = published.root / file
        content = bytearray(path.read_bytes())
        before[path] = bytes(content)
        content[len(content) // 2 if position is None else content.index(position)] ^= 1
        path.write_bytes(content)

    yield run
    for path, content in before.items():
        path.write_bytes(content)
    models = {path.relative_to(published.root).parts[0] for path in before}
    published.reload(*sorted(models - {"whole"}), "whole")
    assert published.ask() == {"onnx"}


# A bit of each file. In code it is one of a docstring: others end in Python's own sentence, or ours.
DAMAGES = [
    ("whole_onnx", "1/model.onnx", None),
    ("whole_onnx", "1/config.pbtxt", None),
    ("whole_onnx", "1/SHA256SUMS", None),
    ("whole_onnx", "config.pbtxt", b"8\n"),
    ("whole_original", "1/source/weights.pth", None),
    ("whole_original", "1/source/net.py", b"4"),
    ("whole_original", "1/torch_module.py", b"PyTorch"),
    ("whole_original", "1/model.py", b"Triton"),
    ("whole_original", "1/integrity.py", b"Whether"),
    ("whole_original", "1/original.json", None),
    ("whole_original", "config.pbtxt", b"8\n"),
    ("whole", "1/router.py", b"asked"),
    ("whole", "1/model.py", b"Triton"),
    ("whole", "1/integrity.py", b"Whether"),
    ("whole", "1/golden.npz", None),
    ("whole", "1/evidence.json", None),
    ("whole", "1/SHA256SUMS", None),
    ("whole", "config.pbtxt", b"0000"),
]
OTHERS = {"whole_onnx": {"original"}, "whole_original": {"onnx"}}


@pytest.mark.parametrize(("model", "file", "position"), DAMAGES, ids=lambda value: value if "/" in str(value) else "")
def test_a_flipped_bit_is_refused_at_load_and_told_by_verify(published, flip, capsys, model, file, position):
    flip(f"{model}/{file}", position)
    with pytest.raises(LoadFailed) as caught:
        published.reload(model)
    sentence = str(caught.value)
    assert f"{published.root}/{model}/1 is not what was published: " in sentence
    if not file.endswith("SHA256SUMS"):
        assert f" {file.removeprefix('1/') if '/' in file else '../config.pbtxt'}: " in sentence
    assert "convert the model again, or roll back to a release that is intact" in sentence
    assert published.triton.server.pid
    assert published.triton.control.ready("whole_onnx") == (model != "whole_onnx")
    assert published.triton.control.ready("whole_original") == (model != "whole_original")
    if model in OTHERS:
        # The hybrid was loaded before; what remains answers for what was refused.
        assert published.ask() == OTHERS[model]
    else:
        assert not published.triton.control.ready("whole")
    capsys.readouterr()
    assert published.verify("--skip-replay") == 11
    told = capsys.readouterr().out
    assert f"{model}/{file}" in told or file.endswith("SHA256SUMS")
    assert told.startswith("whole release 1 (served): ")


def test_an_intact_release_is_replayed_by_both_twins(published, capsys):
    assert published.verify() == 0
    assert capsys.readouterr().out == "whole release 1 (served): ok\n"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("place", [b"1\n  }", b"specific"])
def test_a_damaged_pin_is_refused_by_triton_itself(published, flip, model, place):
    """Of the release 0, which is not there; or the words are no longer those of a configuration."""
    flip(f"{model}/config.pbtxt", place)
    with pytest.raises(LoadFailed):
        published.reload(model)
    assert published.verify("--skip-replay") == 11
    assert published.triton.control.ready("whole_onnx") == (model != "whole_onnx")


def test_a_twin_whose_backend_looks_at_no_checksum_is_not_asked(published, flip):
    """The C++ backend serves whatever ONNX Runtime can read; here the twin was loaded before the bit flipped."""
    flip("whole_onnx/1/model.onnx")
    assert published.triton.control.ready("whole_onnx")
    published.reload("whole")
    assert published.ask() == {"original"}
    log = published.triton.server.log_path.read_text(errors="replace")
    assert "this twin will not be asked: " in log
    assert "whole_onnx/1 is not what was published: model.onnx: expected SHA-256" in log


@pytest.fixture(scope="module")
def two(published):
    """A second release, served. The tests that need it come last."""
    assert published.convert(1, "--no-rehearsal") == 0


def test_a_hybrid_that_pins_what_no_twin_pins_is_refused(published, two, capsys):
    path = published.root / "whole" / "config.pbtxt"
    intact = path.read_text()
    path.write_text(intact.replace("versions: 2", "versions: 1"))
    with pytest.raises(LoadFailed, match="pins release 1, but whole_onnx pins 2, whole_original pins 2: it would have"):
        published.reload("whole")
    assert published.verify("--skip-replay") == 11
    assert "whole_onnx pins 2, whole_original pins 2, whole pins 1: all three must" in capsys.readouterr().out
    path.write_text(intact)
    published.reload("whole")
    assert published.ask() == {"onnx"}


@pytest.mark.parametrize("damaged", [1, 2])
def test_each_version_that_is_pinned_is_looked_at(published, two, damaged, tmp_path):
    """Both are, as during a switch; on a server of its own, which 24.10 may take down."""
    shutil.copytree(published.root / "whole_onnx", tmp_path / "whole_onnx")
    (tmp_path / "whole_onnx" / str(damaged) / "more").write_text("")
    path = tmp_path / "whole_onnx" / "config.pbtxt"
    path.write_text(path.read_text().replace("    versions: 2", "    versions: 1\n    versions: 2"))
    with TritonServer(tmp_path, strict=False, log_path=tmp_path / "log") as server:
        reason = server.failures["whole_onnx"]
    assert f"whole_onnx/{damaged} is not what was published: more: is not listed in SHA256SUMS" in reason
    assert f"whole_onnx/{3 - damaged} is" not in reason


def test_a_release_is_asked_again_for_what_the_twins_differed_on(published, two, tmp_path, capsys):
    golden = published.root / "whole" / "2" / "golden.npz"
    case = read_golden(golden)
    other = tmp_path / "differing-0.npz"
    write_golden(Case(case.inputs, {"y": case.expected["y"] + np.float32(1)}), other)
    capsys.readouterr()
    assert main(["replay", "whole", str(golden), "--repository", str(published.root)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{golden}: the ONNX twin of release 2: answers as the original did",
        f"{golden}: the original of release 2: answers as the original did",
    ]
    assert main(["replay", "whole", str(golden), str(other), "--repository", str(published.root)]) == 11
    told = capsys.readouterr()
    assert told.err == "error: 2 of 4 answers are not what the original said in service\n"
    assert f"{other}: the ONNX twin of release 2: output 'y' at x[" in told.out
    assert main(["replay", "whole", str(other), "--release", "7", "--repository", str(published.root)]) == 9
    assert "holds no release 7 of 'whole'" in capsys.readouterr().err


def test_a_damaged_release_is_published_again_while_it_serves(published, two, capsys):
    """Release 2 is in memory, and damaged on disk; converting notices, and 3 takes its place."""
    path = published.root / "whole_onnx" / "2" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    capsys.readouterr()
    assert published.convert(1, "--no-rehearsal") == 0
    assert capsys.readouterr().out.startswith("whole: release 3 published ")
    assert published.ask() == {"onnx"}
    assert main(["rollback", "whole", "--to", "2", *published.arguments]) == 9
    assert "release 2 of whole is damaged and is not served (whole_onnx/2/model.onnx: " in capsys.readouterr().err
    assert main(["rollback", "whole", "--to", "1", "--no-rehearsal", *published.arguments]) == 0
    assert published.ask() == {"onnx"}
