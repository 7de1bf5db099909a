"""The front door: `make demo`, twice, and the README's own lines. What a search finds, test_search.py looks at."""

import re
import subprocess
import time
from pathlib import Path

import pytest

from serving import TritonServer

MODELS = sorted(path.parent.name for path in Path("models").glob("*/demo.py"))
MAKE_DEMO = ["make", "--silent", "demo", "SEARCH=off"]


@pytest.fixture(scope="module")
def first():
    return subprocess.run(MAKE_DEMO, capture_output=True, text=True, check=False, timeout=1500)


def test_every_model_is_converted_answered_and_answered_again_by_the_original(first):
    assert first.returncode == 0, first.stdout + first.stderr
    assert MODELS == ["basic_pitch", "efficientnet_lite0", "sample_classifier"]
    for name in MODELS:
        assert re.search(rf"{name}: (release \d+ published|unchanged, release \d+)", first.stdout)
        assert re.search(rf"{name}, served by onnx in", first.stdout)
        assert re.search(rf"{name}, served by original in", first.stdout)
    assert first.stdout.count("parity      ") >= len(MODELS)
    assert len(re.findall(r" {3}1 rows +original", first.stdout)) == len(MODELS)
    assert first.stdout.count("the same result, worst difference") == len(MODELS)
    assert first.stdout.count("callers: answered by onnx ") == len(MODELS)
    # Both twins, and the original twice where the release prefers it at one row, as measured beside other work.
    asked = first.stdout.count("basic_pitch, served by ")
    assert asked >= 2
    assert first.stdout.count("heard MIDI 60 (C4), 64 (E4), 67 (G4)") == asked
    assert first.stdout.endswith("Every answer was right, with the ONNX twin and without it.\n")


def test_the_second_time_nothing_is_converted(first):
    start = time.monotonic()
    second = subprocess.run(MAKE_DEMO, capture_output=True, text=True, check=True, timeout=300)
    for name in MODELS:
        assert f"{name}: unchanged, release" in second.stdout
    assert "published" not in second.stdout
    print(f"the second make demo took {time.monotonic() - start:.0f} s")


def test_the_readmes_snippet_runs(first, tmp_path, capsys):
    """With the address of a server of its own."""
    (snippet,) = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
    name = "efficientnet_lite0"
    scope = {}
    models = [f"{name}_onnx", f"{name}_original", name]
    with TritonServer(Path("model_repository"), load=models, log_path=tmp_path / "log") as server:
        exec(snippet.replace("127.0.0.1:8001", server.grpc_url), scope)
    assert scope["prediction"].outputs["logits"].shape == (2, 1000)
    assert scope["prediction"].served_by == "onnx"
    assert "efficientnet_lite0_onnx" in capsys.readouterr().out
