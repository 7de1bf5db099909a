"""What `bench` measures, and what it prints of where the twin ran."""

import json
from dataclasses import replace

import pytest

from conversion.errors import MeasuringFailed
from conversion.measuring import bench_table
from conversion.measuring.bench_table import bench, table


def entry(**more):
    return {
        "release": 3,
        "twin": "tf2onnx",
        "batches": {},
        "original_rss_mb": 900.0,
        "twin_rss_mb": 100.0,
        "metric": None,
        "precision": "",
        **more,
    }


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"provider": "CPUExecutionProvider", "nodes": {}}, "tf2onnx on CPUExecutionProvider; memory"),
        (
            {"provider": "CUDAExecutionProvider", "nodes": {"CUDAExecutionProvider": 40, "CPUExecutionProvider": 2}},
            "on CUDAExecutionProvider (40 nodes on CUDAExecutionProvider, 2 nodes on CPUExecutionProvider); memory",
        ),
        (
            {"provider": "TensorrtExecutionProvider", "precision": "fp16", "nodes": {"TensorrtExecutionProvider": 40}},
            "on TensorrtExecutionProvider in fp16 (40 nodes on TensorrtExecutionProvider); memory",
        ),
    ],
)
def test_the_provider_in_use_is_shown_with_what_others_took(more, told):
    assert told in table({"net": entry(**more)})


class Served:
    """A repository with one release, whose folders are all one."""

    def __init__(self, folder):
        self.root = folder

    def served(self, _name):
        return 1

    def release_folder(self, *_):
        return self.root


@pytest.mark.parametrize(
    ("most", "named", "measured"),
    [(32, (1, 100), (1, 100)), (32, (), (1, 10, 32)), (0, (1, 10, 100), (1,)), (0, (), (1,))],
)
def test_batch_sizes_are_those_named_where_there_is_a_batch(spec, tmp_path, monkeypatch, most, named, measured):
    (tmp_path / "evidence.json").write_text(json.dumps({"search": {"chosen": "tf2onnx"}, "graph": {"operators": {}}}))
    tasks = []

    def run_worker(task, *_):
        tasks.append(task)
        raise MeasuringFailed("twin", 1, "")

    monkeypatch.setattr(bench_table, "run_worker", run_worker)
    limited = replace(spec, serving=replace(spec.serving, max_batch_size=most))
    with pytest.raises(MeasuringFailed):
        bench(limited, Served(tmp_path), build_folder=tmp_path, sizes=named, profile="cpu", report=print)
    assert tasks[0].more["sizes"] == measured
