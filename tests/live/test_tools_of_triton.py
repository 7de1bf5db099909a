"""What callers of Triton have already works on a hybrid as it is: NVIDIA's perf_analyzer, and plain tritonclient."""

import asyncio
import csv
import queue
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

from ..perf_analyzer import PerfAnalyzer, PerfAnalyzerMissing, perf_analyzer
from .hybrid_net import Net, Shape, right, series, until

BLOCKING = {"grpc": tritonclient.grpc, "http": tritonclient.http}
ASYNCIO = {"grpc": tritonclient.grpc.aio, "http": tritonclient.http.aio}
X = np.arange(8, dtype=np.float32).reshape(2, 4)


@pytest.fixture(scope="module")
def net(triton: Any) -> Iterator[Net]:
    made = Net(triton, "tools_net", Shape()).load()
    yield made
    made.close()


@pytest.fixture(params=["grpc", "http"])
def protocol(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def url(net: Net, protocol: str) -> str:
    server = net.triton.server
    address: str = server.grpc_url if protocol == "grpc" else server.http_url
    return address


@pytest.fixture(scope="module")
def analyzer() -> PerfAnalyzer:
    return perf_analyzer()


def served(net: Net) -> dict[tuple[str, ...], float]:
    """What the hybrid has counted of its answers."""
    return {key: value for key, value in series(net.triton, net.name).items() if key[0] == "ml_inference_total"}


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("memory", ["none", "system"])
def test_perf_analyzer_measures_it(
    analyzer: PerfAnalyzer, net: Net, protocol: str, url: str, memory: str, concurrency: int, tmp_path: Path
) -> None:
    before = served(net)
    done = analyzer.run(
        *("-m", net.name, "-u", url, "-i", protocol, "--shape", "x:4", "-b", "2", "-v"),
        *("--concurrency-range", str(concurrency), "--shared-memory", memory),
        # Whether the machine is steady is not asked here: of three short windows, any spread is fine.
        *("--measurement-mode", "count_windows", "--measurement-request-count", "50"),
        *("--max-trials", "3", "--stability-percentage", "9999"),
        *("-f", str(tmp_path / "report.csv")),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^Concurrency: {concurrency}, throughput: [1-9][0-9.]* infer/sec", done.stdout, re.MULTILINE)
    with (tmp_path / "report.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["Concurrency"], float(row["Inferences/Second"]) > 0) == (str(concurrency), True)
    answered = sum(map(int, re.findall(r"^ +Request count: (\d+)$", done.stdout, re.MULTILINE)))
    assert answered > 2 * concurrency
    # It ends with an error where a request fails; the hybrid's own count says the same.
    after = until(net.triton, net.name, lambda found: _ok(found) - _ok(before) >= answered)
    changed = {key[1:] for key in after if key[0] == "ml_inference_total" and after[key] != before.get(key, 0.0)}
    assert changed == {("onnx", "ok")}


def _ok(found: dict[tuple[str, ...], float]) -> float:
    return found.get(("ml_inference_total", "onnx", "ok"), 0.0)


def test_perf_analyzer_tells_when_requests_fail(analyzer: PerfAnalyzer, net: Net, protocol: str, url: str) -> None:
    for twin in ("onnx", "original"):
        net.behave(twin, error={"all": "no"})
    try:
        done = analyzer.run("-m", net.name, "-u", url, "-i", protocol, "--shape", "x:4", "-p", "300", "-r", "2")
        assert done.returncode != 0
        assert "no" in done.stdout + done.stderr
    finally:
        net.settle()


def test_what_perf_analyzer_lacks_is_one_sentence(analyzer: PerfAnalyzer, tmp_path: Path) -> None:
    (tmp_path / "perf_analyzer").write_bytes(analyzer.binary.read_bytes())
    (tmp_path / "perf_analyzer").chmod(0o755)
    with pytest.raises(PerfAnalyzerMissing, match=r"there is no libcudart-\*\.so\.12\.\* in .*: run `make setup`"):
        perf_analyzer(tmp_path, tmp_path)


def inputs(wire: Any, x: Any = X) -> list[Any]:
    tensor = wire.InferInput("x", list(x.shape), "FP32")
    tensor.set_data_from_numpy(x)
    return [tensor]


def outputs(wire: Any) -> list[Any]:
    return [wire.InferRequestedOutput("y"), wire.InferRequestedOutput("served_by")]


def check(result: Any, x: Any = X) -> None:
    np.testing.assert_array_equal(result.as_numpy("y"), right(x))
    assert result.as_numpy("served_by").tolist() == [[b"onnx"]] * len(x)


def test_infer(protocol: str, url: str) -> None:
    wire = BLOCKING[protocol]
    with wire.InferenceServerClient(url) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("tools_net")
        check(client.infer("tools_net", inputs(wire)))
        check(client.infer("tools_net", inputs(wire), outputs=outputs(wire), request_id="1", model_version="1"))
        with pytest.raises(InferenceServerException, match="unexpected shape"):
            client.infer("tools_net", inputs(wire, X[0]))


def test_json_tensors_over_http(net: Net) -> None:
    wire = tritonclient.http
    tensor = wire.InferInput("x", list(X.shape), "FP32")
    tensor.set_data_from_numpy(X, binary_data=False)
    asked = [wire.InferRequestedOutput(name, binary_data=False) for name in ("y", "served_by")]
    with wire.InferenceServerClient(net.triton.server.http_url) as client:
        result = client.infer("tools_net", [tensor], outputs=asked)
    np.testing.assert_array_equal(result.as_numpy("y"), right(X))
    assert result.as_numpy("served_by").reshape(-1).tolist() == ["onnx", "onnx"]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_bodies(protocol: str, url: str, algorithm: str) -> None:
    wire = BLOCKING[protocol]
    options = {"compression_algorithm": algorithm}
    if protocol == "http":
        options = {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
    with wire.InferenceServerClient(url) as client:
        check(client.infer("tools_net", inputs(wire), **options))


def test_async_infer_over_grpc_calls_back(net: Net) -> None:
    wire = tritonclient.grpc
    answers: queue.Queue[tuple[int, Any, Any]] = queue.Queue()

    def into(number: int) -> Callable[[Any, Any], None]:
        return lambda result, error: answers.put((number, result, error))

    with wire.InferenceServerClient(net.triton.server.grpc_url) as client:
        for number in range(16):
            client.async_infer("tools_net", inputs(wire, X + number), into(number))
        seen = [answers.get(timeout=30) for _ in range(16)]
    assert sorted(number for number, _, _ in seen) == list(range(16))
    for number, result, error in seen:
        assert error is None
        check(result, X + np.float32(number))


def test_async_infer_over_http_gives_results_later(net: Net) -> None:
    wire = tritonclient.http
    with wire.InferenceServerClient(net.triton.server.http_url, concurrency=4) as client:
        asked = [client.async_infer("tools_net", inputs(wire, X + number)) for number in range(16)]
        for number, one in enumerate(asked):
            check(one.get_result(), X + np.float32(number))


def test_stream_infer_answers_each_request_of_a_stream_once(net: Net) -> None:
    wire = tritonclient.grpc
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with wire.InferenceServerClient(net.triton.server.grpc_url) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for number in range(16):
            client.async_stream_infer("tools_net", inputs(wire, X + number), request_id=str(number))
        client.async_stream_infer("tools_net", inputs(wire, np.full_like(X, np.nan)), request_id="wrong")
        seen = [answers.get(timeout=30) for _ in range(17)]
        client.stop_stream()
    assert answers.empty()
    errors = [error for _, error in seen if error is not None]
    results = {result.get_response().id: result for result, error in seen if error is None}
    assert sorted(results, key=int) == [str(number) for number in range(16)]
    for number, result in results.items():
        check(result, X + np.float32(number))
    (error,) = errors
    assert "NaN" in str(error) or "finite" in str(error)


async def test_asyncio(protocol: str, url: str) -> None:
    wire, plain = ASYNCIO[protocol], BLOCKING[protocol]
    async with wire.InferenceServerClient(url) as client:
        assert await client.is_model_ready("tools_net")
        asked = [client.infer("tools_net", inputs(plain, X + number), outputs=outputs(plain)) for number in range(16)]
        for number, result in enumerate(await asyncio.gather(*asked)):
            check(result, X + np.float32(number))


async def test_an_asyncio_stream(net: Net) -> None:
    wire = tritonclient.grpc

    async def requests() -> Any:
        for number in range(8):
            yield {"model_name": "tools_net", "inputs": inputs(wire, X + number), "request_id": str(number)}

    async with tritonclient.grpc.aio.InferenceServerClient(net.triton.server.grpc_url) as client:
        seen = {}
        async for result, error in client.stream_infer(requests()):
            assert error is None
            seen[int(result.get_response().id)] = result
    assert sorted(seen) == list(range(8))
    for number, result in seen.items():
        check(result, X + np.float32(number))


@pytest.fixture
def regions() -> Iterator[tuple[Any, Any]]:
    """Two regions of system shared memory, for the input and for the output."""
    size = X.nbytes
    made = [shm.create_shared_memory_region(f"tools_{part}", f"/tools_{part}", size) for part in ("in", "out")]
    yield made[0], made[1]
    for region in made:
        shm.destroy_shared_memory_region(region)


def test_system_shared_memory(protocol: str, url: str, regions: tuple[Any, Any]) -> None:
    wire = BLOCKING[protocol]
    into, out = regions
    shm.set_shared_memory_region(into, [X])
    with wire.InferenceServerClient(url) as client:
        for part in ("in", "out"):
            client.register_system_shared_memory(f"tools_{part}", f"/tools_{part}", X.nbytes)
        try:
            tensor = wire.InferInput("x", list(X.shape), "FP32")
            tensor.set_shared_memory("tools_in", X.nbytes)
            wanted = wire.InferRequestedOutput("y")
            wanted.set_shared_memory("tools_out", X.nbytes)
            for number in range(3):
                shm.set_shared_memory_region(into, [X + np.float32(number)])
                result = client.infer("tools_net", [tensor], outputs=[wanted])
                described = result.get_output("y")
                shape = described["shape"] if isinstance(described, dict) else list(described.shape)
                answer = shm.get_contents_as_numpy(out, np.float32, shape)
                np.testing.assert_array_equal(answer, right(X + np.float32(number)))
        finally:
            client.unregister_system_shared_memory()


def test_threads_share_a_grpc_client(net: Net) -> None:
    wire, wrong = tritonclient.grpc, list[object]()

    def ask(number: int) -> None:
        try:
            for turn in range(5):
                check(client.infer("tools_net", inputs(wire, X + number + turn)), X + np.float32(number + turn))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told below
            wrong.append(error)

    with wire.InferenceServerClient(net.triton.server.grpc_url) as client:
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
