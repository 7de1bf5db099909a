"""`tune` on a real Triton, from a published release to what the next one is served with."""

import json
import subprocess
import sys
import tomllib

import pytest

from conversion.release.pbtxt import read_config
from conversion.spec.serving import TunedSpec
from conversion.tuning.section import write_section

from .test_arrangements import NET

SPEC = """
name = "tuned"
inputs = [{ name = "x", dtype = "float32", shape = ["batch", 64] }]
outputs = [{ name = "y" }]
[source]
factory = "net.py:build"
[search]
level = "off"
[serving]
max_batch_size = 4
"""


@pytest.fixture
def folder(tmp_path):
    """A model of its own, published as nobody measured it."""
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "net.py").write_text(NET)
    (folder / "model.toml").write_text(SPEC)
    return folder


def conversion(folder, command, *options):
    where = ["--repository", str(folder.parent / "repository"), "--build", str(folder.parent / "build")]
    return subprocess.run(
        [sys.executable, "-m", "conversion", command, str(folder), *where, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def published(folder):
    root = folder.parent / "repository"
    version = max(int(each.name) for each in (root / "tuned").iterdir() if each.name.isdecimal())
    evidence = json.loads((root / "tuned" / str(version) / "evidence.json").read_text())
    return (
        evidence["serving"],
        read_config(root / "tuned_onnx" / "config.pbtxt"),
        read_config(root / "tuned/config.pbtxt"),
    )


def test_every_way_is_measured_and_only_what_is_better_is_written(folder):
    assert conversion(folder, "convert", "--server", "none").returncode == 0
    done = conversion(folder, "tune", "--p99-ms", "60", "--clients", "1", "4", "--seconds", "0.3", "--rounds", "2")
    assert done.returncode == 0, done.stderr
    found = json.loads((folder.parent / "build" / "tune" / "tuned.json").read_text())
    runs = [run for step in found["steps"] for run in step["runs"]] + found["final"]
    assert len(runs) == found["runs"] < 30
    assert {step["varied"] for step in found["steps"]} >= {"instances and threads", "joining"}
    for run in runs:
        assert run["failure"] == ""
        assert [level["clients"] for level in run["levels"]] == [1, 4]
        assert all(0 < level["p50_ms"] <= level["p99_ms"] and level["per_s"] > 0 for level in run["levels"])
    table = tomllib.loads((folder / "model.toml").read_text())["serving"]
    better = found["best"] != found["served"] and found["gain"]["median"] > 1 + found["margin"]
    assert ("tuned" in table) == better
    assert f"{found['runs']} runs; all of them in" in done.stdout
    assert "instances and threads: " in done.stderr, "progress is shown"
    assert (folder.parent / "build" / "tune" / "tuned.html").is_file()
    assert list((folder.parent / "build" / "work").glob("tune*/arrangements")) == []


def test_what_was_tuned_is_how_the_next_release_is_served(folder):
    tuned = TunedSpec(1, 2, dynamic_batching=False, max_joined_rows=3, max_queue_delay_microseconds=700, p99_ms=50.0)
    write_section(folder / "model.toml", tuned, "by hand")
    done = conversion(folder, "convert", "--server", "none")
    assert "served with 1 instance of 2 threads, batching by the hybrid, 3 rows at most, after 0.7 ms" in done.stdout
    assert "as `tune` found" in done.stdout
    serving, twin, hybrid = published(folder)
    assert (serving["how"], serving["queue_delay_us"]) == ("tuned", 700)
    assert (twin.instance_group[0].count, twin.parameters["intra_op_thread_count"].string_value) == (1, "2")
    assert not twin.HasField("dynamic_batching")
    assert hybrid.parameters["max_joined_rows"].string_value == "3"
    assert hybrid.dynamic_batching.max_queue_delay_microseconds == 700


def test_what_is_not_published_cannot_be_tuned(folder):
    done = conversion(folder, "tune")
    assert done.returncode == 9
    root = folder.parent / "repository"
    assert done.stderr.strip() == f"error: {root} serves no release of 'tuned'; publish it with convert"
