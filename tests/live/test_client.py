"""The client against a real Triton: both protocols, blocking and asyncio."""

import asyncio
import json
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from understudy_client import (
    AsyncHybridClient,
    DeadlineExceeded,
    HybridClient,
    InvalidRequest,
    LoadFailed,
    ModelNotFound,
    ModelNotReady,
    ServerError,
    ServerUnavailable,
    UnderstudyClientError,
    UnknownTensor,
    WrongDtype,
    WrongShape,
)

MODELS = Path(__file__).parent / "test_client_models"
DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


class Blocking:
    """An asyncio client whose verbs block, so that one test serves both kinds."""

    def __init__(self, client: AsyncHybridClient, runner: asyncio.Runner) -> None:
        self._client, self._runner = client, runner

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        return lambda *data, **options: self._runner.run(getattr(self._client, verb)(*data, **options))


@pytest.fixture(scope="module")
def served(triton: Any) -> Iterator[Any]:
    names = sorted(folder.name for folder in MODELS.iterdir())
    for name in names:
        shutil.copytree(MODELS / name, triton.repository / name)
    with ThreadPoolExecutor() as threads:
        list(threads.map(triton.control.load, names))
    yield triton.server
    with ThreadPoolExecutor() as threads:
        list(threads.map(triton.control.unload, names))
    triton.drop(*names)


@pytest.fixture(params=["grpc", "http"])
def protocol(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def url(served: Any, protocol: str) -> str:
    address: str = served.grpc_url if protocol == "grpc" else served.http_url
    return address


@pytest.fixture(params=["blocking", "asyncio"])
def client(request: pytest.FixtureRequest, url: str, protocol: Any) -> Iterator[Any]:
    if request.param == "blocking":
        with HybridClient(url, protocol=protocol) as client:
            yield client
    else:
        with asyncio.Runner() as runner:
            asynchronous = AsyncHybridClient(url, protocol=protocol)
            yield Blocking(asynchronous, runner)
            runner.run(asynchronous.close())


def _rows(count: int) -> np.ndarray:
    return np.arange(count * 2, dtype=np.float32).reshape(count, 2)


def _sent(client: Any, key: str) -> int:
    """Count the requests that reached `client_tally` with a key, before this one."""
    return int(client.predict([1.0], model="client_tally", parameters={"key": key}).output[0]) - 1


def test_every_dtype_comes_back_as_it_went(client: Any) -> None:
    sent = {name: np.array([[np.iinfo(name).min, 1, np.iinfo(name).max]], dtype=name) for name in DTYPES}
    sent["bool"] = np.array([[True, False, True]])
    for name, dtype in (("fp16", np.float16), ("fp32", np.float32), ("fp64", np.float64)):
        sent[name] = np.array([[np.nan, -np.inf, np.finfo(dtype).tiny]], dtype=dtype)
    back = client.predict(sent, model="client_echo").outputs
    assert sorted(back) == sorted(f"{name}_back" for name in sent)
    for name, array in sent.items():
        assert back[f"{name}_back"].dtype == array.dtype
        np.testing.assert_array_equal(back[f"{name}_back"], array)


@pytest.mark.parametrize(
    "strings",
    [
        [["Kätzchen", "", "a b"]],
        [[b"\x00\xff", b"a\x00\x00", b""]],
        np.array([["x", "yy"], ["ß", "z"]]),
        np.array([[b"x"], [b"yy"]]),
        np.array([["mixed", b"\x80"]], dtype=object),
        [[f"{number}" for number in range(5_000)]],
    ],
    ids=["text", "bytes", "str-array", "bytes-array", "objects", "many"],
)
def test_strings_come_back_as_bytes(client: Any, strings: Any) -> None:
    output = client.predict({"string": strings}, model="client_echo").output
    assert output.dtype == np.object_
    expected = [[item.encode() if isinstance(item, str) else bytes(item) for item in row] for row in strings]
    assert output.tolist() == expected


def test_an_array_of_any_layout_arrives_in_order(client: Any) -> None:
    wide = np.arange(24, dtype=np.float64).reshape(6, 4)
    for array in (wide.T, wide[::2, ::-1], np.asfortranarray(wide[:4]), wide[:2].astype(">f8")):
        np.testing.assert_array_equal(client.predict({"fp64": array}, model="client_echo").output, array)


def test_a_large_batch_is_split_and_comes_back_in_order_with_its_servers(client: Any) -> None:
    rows = _rows(49)
    rows[::3] *= -1
    answer = client.predict(rows, model="client_twin")
    np.testing.assert_array_equal(answer.output, rows * 2)
    assert answer.served_by == "mixed"
    assert answer.served_by_rows == tuple("original" if row[0] < 0 else "onnx" for row in rows)
    answer.output[0] = 0  # the caller's own


def test_who_served_is_told_beside_the_outputs(client: Any) -> None:
    answer = client.predict(_rows(2), model="client_twin", outputs=["y"])
    assert (list(answer.outputs), answer.served_by) == (["y"], "onnx")
    plain = client.predict(_rows(2), model="client_twin_onnx", version=1)
    assert (plain.served_by, plain.served_by_rows, plain.model_version) == (None, (), "1")


def test_sixty_megabytes_pass_both_ways(client: Any) -> None:
    pictures = np.random.default_rng(0).random((100, 3, 224, 224), dtype=np.float32)
    answer = client.predict(pictures, model="client_pictures", deadline_s=60)
    np.testing.assert_array_equal(answer.outputs["picture_back"], pictures)
    np.testing.assert_allclose(answer.outputs["mean"][:, 0], pictures.mean(axis=(1, 2, 3)), rtol=1e-4)


def test_a_slow_model_ends_at_the_deadline_and_was_told_of_it(client: Any) -> None:
    answer = client.predict([1.0], model="client_slow", deadline_s=20, parameters={"trace": "on"})
    told = json.loads(answer.text("parameters")[0])
    assert told["trace"] == "on"
    assert 0 < told["deadline_ms"] < 20_000
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"'client_slow' at .* within its deadline of 0\.3 s"):
        client.predict([1.0], model="client_slow", deadline_s=0.3, parameters={"sleep_ms": 4000})
    assert 0.25 < time.monotonic() - started < 3.5
    assert client.predict([2.0], model="client_slow").outputs["y"].tolist() == [2]


def test_a_deadline_may_be_longer_than_any_clock(client: Any) -> None:
    answer = client.predict([1.0], model="client_slow", deadline_s=1e300)
    assert answer.outputs["y"].tolist() == [1]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("INVALID_ARG", InvalidRequest),
        ("INTERNAL", ServerError),
        ("NOT_FOUND", ServerError),
        ("UNSUPPORTED", InvalidRequest),
    ],
)
def test_what_the_model_says_becomes_its_error_and_is_not_sent_again(
    client: Any, code: str, error: type[UnderstudyClientError]
) -> None:
    key = uuid.uuid4().hex
    with pytest.raises(error, match="told to fail"):
        client.predict([1.0], model="client_tally", parameters={"fail": code, "key": key})
    assert _sent(client, key) == 1


def test_an_unavailable_model_is_asked_again(client: Any) -> None:
    key = uuid.uuid4().hex
    with pytest.raises(ServerUnavailable, match="after 4 attempts") as caught:
        client.predict([1.0], model="client_tally", parameters={"fail": "UNAVAILABLE", "key": key})
    assert caught.value.attempts == 4
    assert _sent(client, key) == 4


def test_a_full_queue_is_waited_out(url: str, protocol: Any) -> None:
    def ask(client: HybridClient, value: int) -> float:
        return float(client.predict([[float(value)]], model="client_narrow").output[0, 0])

    with HybridClient(url, protocol=protocol, retries=0) as client, ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(ask, client, value) for value in range(8)]
        errors = [error for future in asked if (error := future.exception()) is not None]
        assert errors
        assert {type(error) for error in errors} == {ServerUnavailable}
    with HybridClient(url, protocol=protocol, retries=50) as client, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda value: ask(client, value), range(8))) == list(range(8))


def test_a_wrong_request_is_one_sentence(client: Any) -> None:
    for data, error, sentence in (
        (
            _rows(1).astype(float),
            WrongDtype,
            r"Input 'x' of model 'client_twin' takes float32 \(FP32\), and got float64",
        ),
        (_rows(1)[0], WrongShape, r"takes shape \[-1, 2\] .* got \[2\]; the batch dimension is missing"),
        (_rows(0), WrongShape, "the batch is empty"),
        ({"q": _rows(1)}, UnknownTensor, "Model 'client_twin' has no input 'q'; it has 'x'"),
    ):
        with pytest.raises(error, match=sentence):
            client.predict(data, model="client_twin")
    with pytest.raises(ModelNotFound, match=r"'nope' at .*; the server has .*'client_twin'"):
        client.predict(_rows(1), model="nope")
    with pytest.raises(ModelNotFound, match="client_twin version 1"):
        client.predict(_rows(1), model="client_twin", version=9)


def test_an_unloaded_model_is_not_ready_until_it_is_loaded(client: Any) -> None:
    client.predict(_rows(1), model="client_twin_onnx")
    client.unload("client_twin_onnx")
    with pytest.raises(ModelNotReady, match="UNAVAILABLE, unloaded"):
        client.predict(_rows(1), model="client_twin_onnx")
    states = {model.name: (model.role, model.state) for model in client.models()}
    assert states["client_twin_onnx"] == ("onnx", "UNAVAILABLE")
    assert states["client_twin"] == ("hybrid", "READY")
    client.load("client_twin_onnx")
    assert client.predict(_rows(1), model="client_twin_onnx").output.tolist() == [[0, 2]]
    for verb in (client.load, client.unload, client.statistics):
        with pytest.raises(ModelNotFound, match="client_twin_onnx"):
            verb("nope")


def test_a_model_that_does_not_load_gives_the_servers_reason(client: Any, triton: Any) -> None:
    folder = triton.repository / "client_broken"
    (folder / "1").mkdir(parents=True, exist_ok=True)
    (folder / "config.pbtxt").write_text('backend: "python"\n')
    (folder / "1" / "model.py").write_text("raise RuntimeError('no such weights')\n")
    with pytest.raises(LoadFailed, match="no such weights") as caught:
        client.load("client_broken")
    assert len(str(caught.value).splitlines()) == 1


def test_statistics_count_what_was_asked(client: Any) -> None:
    for twin, rows in (("client_twin_onnx", 4), ("client_twin_original", 2)):
        client.unload(twin)  # which starts its counters anew
        client.load(twin)
        for _ in range(3):
            client.predict(_rows(rows), model=twin)
    statistics = client.statistics("client_twin")
    waited = 0
    while statistics.original.successes < 3 and waited < 50:  # Triton counts a request after it has answered it
        time.sleep(0.1)
        waited += 1
        statistics = client.statistics("client_twin")
    assert (statistics.onnx.successes, statistics.onnx.rows, statistics.onnx.success_rate) == (3, 12, 1.0)
    assert (statistics.original.successes, statistics.original.rows, statistics.original.failures) == (3, 6, 0)
    assert statistics.onnx.average_compute_ms >= 5
    assert statistics.original.average_compute_ms >= 50
    ratio = statistics.original.average_compute_ms / statistics.onnx.average_compute_ms
    assert statistics.speedup == pytest.approx(ratio)
    lines = statistics.table().splitlines()
    assert [line.split()[:3] for line in lines[2:4]] == [
        ["client_twin_onnx", "onnx", "3"],
        ["client_twin_original", "original", "3"],
    ]


def test_sixteen_threads_share_a_client(url: str, protocol: Any) -> None:
    wrong: list[object] = []

    def ask(client: HybridClient, thread: int) -> None:
        try:
            for turn in range(6):
                rows = _rows(1 + turn) + np.float32(1000 * thread)
                if not np.array_equal(client.predict(rows, model="client_twin").output, rows * 2):
                    wrong.append((thread, turn))
        except UnderstudyClientError as error:
            wrong.append(error)

    with HybridClient(url, protocol=protocol, timeout_s=60) as client:
        threads = [threading.Thread(target=ask, args=(client, number)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


async def test_fifty_asyncio_calls_are_in_flight_at_once(url: str, protocol: Any) -> None:
    async with AsyncHybridClient(url, protocol=protocol) as client:
        started = time.monotonic()
        calls = [client.predict([float(n)], model="client_slow", parameters={"sleep_ms": 20}) for n in range(50)]
        answers = await asyncio.gather(*calls)
        took = time.monotonic() - started
    assert [answer.outputs["y"].tolist() for answer in answers] == [[float(n)] for n in range(50)]
    # Two instances share 50 times 20 ms. Calls that waited for one another in the client would take a second and more,
    # and none of them long; here the last waits in the server for all others.
    assert took > 0.45
    assert max(answer.inference_time_ms for answer in answers) > 400
