"""A hybrid and its twins on the session's server: published, told how to behave, asked, put under load."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import np_to_triton_dtype

ROOT = Path(__file__).parents[2]
TWIN = Path(__file__).parent / "test_hybrid_models" / "twin.py"
HYBRID = ROOT / "python_backend" / "hybrid"


@dataclass(frozen=True)
class Shape:
    """How a net is configured. `seen` adds an output that tells what a twin was asked, `others` pairs like x and y."""

    dtype: str = "FP32"
    others: tuple[str, ...] = ()
    dims: tuple[int, ...] = (-1,)
    max_batch_size: int = 8
    batching: bool = True
    twin_instances: int = 2
    hybrid_instances: int = 1
    seen: bool = False
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answered:
    """One answer: outputs by name, and who gave each row."""

    outputs: dict[str, Any]
    served_by: list[str]

    @property
    def seen(self) -> dict[str, Any]:
        """What the twin was asked."""
        return json.loads(self.outputs["seen"].reshape(-1)[0])


class Net:
    """One hybrid with its twins. Twins are "onnx" and "original"."""

    def __init__(self, triton: Any, name: str, shape: Shape) -> None:
        self.triton = triton
        self.name = name
        self.shape = shape
        self.client = InferenceServerClient(triton.server.grpc_url)
        for twin in ("onnx", "original"):
            self._write(f"{name}_{twin}", shape, shape.twin_instances)
            shutil.copy(TWIN, triton.repository / f"{name}_{twin}" / "1" / "model.py")
            self.behave(twin)
        self._write(name, shape, shape.hybrid_instances, hybrid=True)
        for module in HYBRID.glob("*.py"):
            shutil.copy(module, triton.repository / name / "1")

    def load(self) -> Net:
        """Load hybrid and twins at once: a hybrid asks none until it is asked."""
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(self.triton.control.load, (f"{self.name}_onnx", f"{self.name}_original", self.name)))
        return self

    def close(self) -> None:
        """Unload what is loaded and remove it."""
        self.client.close()
        self.triton.drop(self.name, f"{self.name}_onnx", f"{self.name}_original")

    def behave(self, twin: str, **behaviour: Any) -> None:
        """What the twin does from now on, for rows that start with certain values or for all of them."""
        path = self.triton.repository / f"{self.name}_{twin}" / "behaviour.json"
        path.with_suffix(".new").write_text(json.dumps(behaviour))
        path.with_suffix(".new").replace(path)

    def settle(self) -> None:
        """Both twins behave, nothing that they were told before keeps them busy, and the hybrid asks the ONNX twin."""
        for twin in ("onnx", "original"):
            self.behave(twin)
            tensor = InferInput("x", [1, 1], self.shape.dtype)
            tensor.set_data_from_numpy(np.zeros((1, 1), np.float32))
            for _ in range(self.shape.twin_instances):
                self.client.infer(f"{self.name}_{twin}", [tensor], client_timeout=30.0)
        # Failures of several tests in a row would open its breaker; this one is a success, or the probe.
        end = time.monotonic() + 70
        while self.ask(np.zeros((1, 1), np.float32)).served_by != ["onnx"]:
            assert time.monotonic() < end
            time.sleep(0.1)

    def ask(
        self, x: Any, *, outputs: list[str] | None = None, more: dict[str, Any] | None = None, **options: Any
    ) -> Answered:
        """One request over gRPC. Raises InferenceServerException."""
        inputs = []
        for name, array in {"x": x, **(more or {})}.items():
            tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            inputs.append(tensor.set_data_from_numpy(array))
        asked = [InferRequestedOutput(output) for output in outputs] if outputs else None
        result = self.client.infer(self.name, inputs, outputs=asked, client_timeout=30.0, **options)
        names = [tensor.name for tensor in result.get_response().outputs]
        arrays = {name: result.as_numpy(name) for name in names}
        served_by = arrays.pop("served_by", np.empty(0, object))
        return Answered(arrays, [value.decode() for value in served_by.reshape(-1)])

    def stubs(self, role: str) -> list[int]:
        """The processes of a twin's instances, or of the "hybrid" itself."""
        model = self.name if role == "hybrid" else f"{self.name}_{role}"
        return [
            int(path.name)
            for path in Path("/proc").glob("[0-9]*")
            if f"/{model}/1/model.py".encode() in _read(path / "cmdline") and self._ours(int(path.name))
        ]

    def signal(self, twin: str, number: signal.Signals) -> None:
        """Send a signal to every process of a twin."""
        for pid in self.stubs(twin):
            os.kill(pid, number)

    def log(self) -> str:
        """What the server has printed so far."""
        return self.triton.server.log_path.read_text(errors="replace")

    def _ours(self, pid: int) -> bool:
        status = _read(Path(f"/proc/{pid}/status")).decode()
        return f"PPid:\t{self.triton.server.pid}\n" in status

    def _write(self, model: str, shape: Shape, instances: int, *, hybrid: bool = False) -> None:
        # It is there where Triton ended while the net was loaded, and the test runs once more.
        (self.triton.repository / model / "1").mkdir(parents=True, exist_ok=True)
        dims = list(shape.dims)
        lines = [
            f'name: "{model}"',
            'backend: "python"',
            f"max_batch_size: {shape.max_batch_size}",
            f"instance_group {{ kind: KIND_CPU count: {instances} }}",
        ]
        for suffix, dtype in {"": shape.dtype, **{f"_{dtype}": dtype for dtype in shape.others}}.items():
            lines.append(f'input {{ name: "x{suffix}" data_type: TYPE_{dtype} dims: {dims} }}')
            lines.append(f'output {{ name: "y{suffix}" data_type: TYPE_{dtype} dims: {dims} }}')
        if shape.seen:
            lines.append('output { name: "seen" data_type: TYPE_STRING dims: [1] }')
        if shape.batching and shape.max_batch_size and hybrid:
            lines.append("dynamic_batching { max_queue_delay_microseconds: 300 }")
        if hybrid:
            lines.append('output { name: "served_by" data_type: TYPE_STRING dims: [1] }')
            parameters = {
                "primary_model": f"{self.name}_onnx",
                "fallback_model": f"{self.name}_original",
                **shape.parameters,
            }
            lines += [
                f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}'
                for key, value in parameters.items()
            ]
        (self.triton.repository / model / "config.pbtxt").write_text("\n".join(lines) + "\n")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def right(x: Any) -> Any:
    """What both twins answer when they behave."""
    return (x * 2 + 1).astype(x.dtype)


class Load:
    """Clients that ask on and on, each with values of its own, and check every answer. A context manager.

    Each pauses for `pause_s` after an answer. Without a pause 64 of them take the processors from what is tested. While
    nobody waits for answers, but for a model that loads, they pause longer: they ask 250 times a second then.
    """

    _meanwhile_s = 0.25

    def __init__(
        self, net: Net, clients: int, make: Callable[[np.random.Generator], Any], *, pause_s: float = 0.05
    ) -> None:
        self._net = net
        self._make = make
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._waited_for = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self._clients = clients
        self._lock = threading.Lock()
        self.served_by: Counter[str] = Counter()
        self.failures: list[str] = []
        self.slowest_s = 0.0

    @property
    def answered(self) -> int:
        """How many requests have been answered."""
        return sum(self.served_by.values()) + len(self.failures)

    def __enter__(self) -> Load:
        self._futures = [self._pool.submit(self._ask_on, seed) for seed in range(self._clients)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        try:
            for future in self._futures:
                future.result(timeout=60)
        finally:
            self._pool.shutdown(wait=False)

    def until(self, done: Callable[[Load], bool], timeout_s: float = 30.0) -> None:
        """Wait until `done` says so."""
        end = time.monotonic() + timeout_s
        self._waited_for.set()
        while not done(self):
            assert time.monotonic() < end, f"{self.served_by}, {self.failures[:3]}"
            time.sleep(0.02)
        self._waited_for.clear()

    def more(self, count: int, twin: str | None = None, timeout_s: float = 30.0) -> None:
        """Wait for this many more answers (of one twin)."""

        def seen() -> int:
            return self.answered if twin is None else self.served_by[twin]

        start = seen()
        self.until(lambda _: seen() >= start + count, timeout_s)

    def _ask_on(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        while not self._stop.wait(self._pause_s if self._waited_for.is_set() else self._meanwhile_s):
            x = self._make(random)
            start = time.monotonic()
            try:
                answer = self._net.ask(x)
                wrong = None if answer.outputs["y"].tobytes() == right(x).tobytes() else "wrong values"
                (twin,) = set(answer.served_by) if len(set(answer.served_by)) == 1 else ("mixed",)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a request that failed
                wrong, twin = f"{type(error).__name__}: {error}", ""
            took = time.monotonic() - start
            with self._lock:
                self.slowest_s = max(self.slowest_s, took)
                if wrong:
                    self.failures.append(wrong)
                else:
                    self.served_by[twin] += 1


_SERIES = re.compile(r"^(ml_\w+)\{(.*)\} ([-+.e0-9]+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def series(triton: Any, model: str) -> dict[tuple[str, ...], float]:
    """Every series of a hybrid: its values summed over processes, by name and by what its other labels say."""
    with urllib.request.urlopen(f"http://{triton.server.metrics_url}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    found: dict[tuple[str, ...], float] = {}
    for name, labels, value in (match.groups() for line in lines if (match := _SERIES.match(line))):
        said = dict(_LABEL.findall(labels))
        if said.pop("model") == model:
            assert said.pop("process").isdecimal()
            key = (name, *(said[label] for label in sorted(said)))
            found[key] = found.get(key, 0.0) + float(value)
    return found


def until(
    triton: Any, model: str, holds: Callable[[dict[tuple[str, ...], float]], bool], timeout_s: float = 10.0
) -> dict[tuple[str, ...], float]:
    """Wait until the series say what is expected; gives all of them."""
    end = time.monotonic() + timeout_s
    while True:
        found = series(triton, model)
        try:
            if holds(found):
                return found
        except KeyError:
            pass
        assert time.monotonic() < end, found
        time.sleep(0.1)
