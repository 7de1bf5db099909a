"""Releases of y = x * factor in seconds, without a conversion; a publisher of them to be killed; callers of the hybrid.

`python -m tests.live.release_net REPOSITORY ADDRESS publish|rollback FACTOR|VERSION [rehearse]` is a publisher process:
what it does between the lock and the last step is what `convert` and `rollback` do.
"""

import json
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
from understudy_client import HybridClient, UnderstudyClientError

from conversion.commands.live_server import TritonOverGrpc, rehearsal_server
from conversion.interface import Facts
from conversion.proof.parity import Case
from conversion.publishing.live import Live
from conversion.publishing.repository import Repository
from conversion.release.evidence import EVIDENCE
from conversion.release.fingerprint import sha256_file
from conversion.release.golden import GOLDEN, write_golden
from conversion.release.pbtxt import ROLES, model_configs
from conversion.spec import ModelSpec, SourceSpec
from conversion.spec.serving import ServingSpec
from python_backend.original.bundle import Bundle, Tensor
from serving import ModelControl

from .conftest import LiveTriton

ROOT = Path(__file__).parents[2]
NAME = "published"
NET = """
import torch

class Scale(torch.nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(float(factor)))

    def forward(self, x):
        return x * self.factor
"""
TWIN = '<ir_version: 9, opset_import: ["" : 18]> scale (float[batch, 4] x) => (float[batch, 4] y) {{ {nodes} }}'
X = np.arange(8, dtype=np.float32).reshape(2, 4)


def live_on(address: str, *, rehearse: bool = False, report=lambda _: None) -> Live:
    return Live(TritonOverGrpc(address), rehearsal_server if rehearse else None, report)


def release(
    repository: Repository, factor: float, live: Live | None = None, *, twin_factor: float | None = None
) -> int:
    """Publish as the pipeline does; gives the number. With `twin_factor` the twin multiplies by that instead."""
    staged = repository.stage(NAME)
    for role in ("original", "hybrid"):
        for path in (ROOT / "python_backend" / role).glob("*.py"):
            shutil.copyfile(path, staged / role / path.name)
    bundle = Bundle(
        "torch_module",
        factory="net.py:Scale",
        arguments={"factor": factor},
        inputs=(Tensor("x", "float32", (None, 4)),),
        outputs=(Tensor("y", "float32", (None, 4)),),
    )
    bundle.write(staged / "original")
    (staged / "original" / "source").mkdir()
    (staged / "original" / "source" / "net.py").write_text(NET)
    nodes = f"w = Constant <value = float {{{float(twin_factor or factor)}}}> () y = Mul(x, w)"
    onnx.save(onnx.parser.parse_model(TWIN.format(nodes=nodes)), str(staged / "onnx" / "model.onnx"))
    write_golden(Case({"x": X}, {"y": X * np.float32(factor)}), staged / "hybrid" / GOLDEN)
    files = {path.relative_to(staged).as_posix(): sha256_file(path) for path in staged.rglob("*") if path.is_file()}
    evidence = {"name": NAME, "files": files, "parity": {"atol": 1e-5, "rtol": 1e-5}}
    (staged / "hybrid" / EVIDENCE).write_text(json.dumps(evidence))
    serving = ServingSpec(max_batch_size=8, instances=1, prefer="onnx")
    spec = ModelSpec(NAME, Path(), SourceSpec("torch_module", factory="net.py:Scale"), serving=serving)
    tensors = [(Facts(name, "float32", ("batch", 4)),) for name in ("x", "y")]
    return repository.publish(NAME, staged, model_configs(spec, *tensors), live)


class Load:
    """Callers in threads, each asking again `pause_s` after it is answered.

    A hundred requests a second find any gap that lasts for some milliseconds, and leave the processors to what is
    tested: without a pause, publishing beside them takes five times as long.
    """

    def __init__(self, url: str, callers: int = 4, pause_s: float = 0.04) -> None:
        self._client = HybridClient(url, model=NAME, timeout_s=30, retries=0)
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(callers)]
        self.factors: list[float] = []
        self.failures: list[str] = []

    def _run(self) -> None:
        while not self._stop.wait(self._pause_s):
            try:
                prediction = self._client.predict(X)
            except UnderstudyClientError as error:
                self.failures.append(str(error))
                return
            factor = float(prediction.outputs["y"][0, 1])
            self.factors.append(factor)
            if not np.array_equal(prediction.outputs["y"], X * np.float32(factor)):
                self.failures.append(f"one answer of two releases: {prediction.outputs['y']}")

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._client.close()


def serve(control: ModelControl) -> None:
    """Load what is pinned, all three at once: how a first release goes live step by step, test_publish.py sees."""
    models = [f"{NAME}{suffix}" for suffix in ROLES.values()]
    with ThreadPoolExecutor(len(models)) as pool:
        list(pool.map(control.load, models))


def forget(server: LiveTriton) -> None:
    """Take every release from the server and its repository, and those in quarantine, whose numbers would be spent."""
    server.drop(*(f"{NAME}{suffix}" for suffix in ROLES.values()))
    quarantine = Repository(server.repository).quarantine
    for one in quarantine.releases(NAME):
        quarantine.remove(NAME, one.version)


def ask(url: str) -> float:
    """The factor by which the hybrid multiplies now."""
    with HybridClient(url, model=NAME) as client:
        return float(client.predict(X).outputs["y"][0, 1])


def main(root: str, address: str, verb: str, number: str, *more: str) -> None:
    repository = Repository(Path(root))
    live = live_on(address, rehearse="rehearse" in more)
    with repository.locked():
        repository.repair(NAME, live)
        started = time.monotonic()
        print("begun", flush=True)
        if verb == "publish":
            release(repository, float(number), live)
        else:
            repository.switch(NAME, int(number), live)
        print(f"{time.monotonic() - started:.3f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
