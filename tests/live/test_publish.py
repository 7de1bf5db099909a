"""Publishing into a running Triton: no request fails, and every answer is of one release or the other."""

import threading
from pathlib import Path

import numpy as np
import pytest
from understudy_client import HybridClient, UnderstudyClientError

from conversion.__main__ import main

SPEC = """
name = "published"
inputs = [{{ name = "x", dtype = "float32", shape = ["batch", 4] }}]
outputs = [{{ name = "y" }}]
[source]
factory = "net.py:Scale"
arguments = {{ factor = {factor} }}
[search]
level = "off"
[serving]
max_batch_size = 8
prefer = "onnx"
"""
NET = """
import torch

class Scale(torch.nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(float(factor)))

    def forward(self, x):
        return x * self.factor
"""
X = np.arange(8, dtype=np.float32).reshape(2, 4)


class Load:
    """Callers in threads, each asking again as soon as it is answered."""

    def __init__(self, url, callers):
        self._client = HybridClient(url, model="published", timeout_s=30, retries=0)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(callers)]
        self.factors = []
        self.failures = []

    def _run(self):
        while not self._stop.is_set():
            try:
                prediction = self._client.predict(X)
            except UnderstudyClientError as error:
                self.failures.append(str(error))
                return
            factor = float(prediction.outputs["y"][0, 1])
            self.factors.append(factor)
            if not np.array_equal(prediction.outputs["y"], X * factor):
                self.failures.append(f"one answer of two releases: {prediction.outputs['y']}")

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._client.close()


@pytest.fixture
def publish(triton, tmp_path):
    """Publish a net that multiplies by `factor` into the running server, by the command line; gives its exit code."""
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "net.py").write_text(NET)

    def run(factor, *more):
        (folder / "model.toml").write_text(SPEC.format(factor=factor))
        return main(["convert", str(folder), *arguments(triton), "--build", str(tmp_path / "build"), *more])

    yield run
    triton.drop("published", "published_onnx", "published_original")


def arguments(triton):
    return ["--repository", str(triton.repository), "--server", triton.server.grpc_url]


def ask(triton):
    with HybridClient(triton.server.grpc_url, model="published") as client:
        return float(client.predict(X).outputs["y"][0, 1])


def test_a_release_and_its_rollback_go_live_without_a_failed_request(triton, publish, capsys):
    assert publish(2) == 0
    assert ask(triton) == 2
    with Load(triton.server.grpc_url, callers=8) as load:
        assert publish(3) == 0
        assert ask(triton) == 3
        assert main(["rollback", "published", *arguments(triton)]) == 0
        assert ask(triton) == 2
    assert load.failures == []
    assert set(load.factors) == {2.0, 3.0}
    assert len(load.factors) > 100
    assert triton.control.ready("published", 1)
    assert not triton.control.ready("published_onnx", 2)


def test_a_release_that_the_server_refuses_leaves_the_old_one_serving(triton, publish, capsys, monkeypatch):
    assert publish(2) == 0
    code = Path("python_backend/hybrid/model.py").read_text()
    broken = Path(str(triton.repository.parent / "broken"))
    broken.mkdir()
    (broken / "original").symlink_to(Path("python_backend/original").resolve())
    (broken / "hybrid").mkdir()
    (broken / "hybrid" / "model.py").write_text(code.replace("class TritonPythonModel", "class Nothing"))
    monkeypatch.setattr("conversion.pipeline._CODE", broken)
    assert publish(5) == 9
    error = capsys.readouterr().err
    assert "release 2 of published did not go live: in rehearsal, " in error
    assert "release 1 is served as before, and the new one lies in " in error
    assert ask(triton) == 2
    assert main(["releases", "published", "--repository", str(triton.repository)]) == 0
    listed = capsys.readouterr().out.partition("published: ")[2].splitlines()
    assert listed[0] == "[1]   ([n] is served)"
    assert "  2 is in quarantine, " in listed[1]
