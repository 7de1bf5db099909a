"""`predict` as a caller sees it, through both clients, over a fake transport."""

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from understudy_client import (
    AsyncHybridClient,
    ClientClosed,
    DeadlineExceeded,
    FakeModel,
    FakeTransport,
    HybridClient,
    Infer,
    InferAnswer,
    InvalidAnswer,
    InvalidRequest,
    ModelNotFound,
    ModelNotReady,
    Prediction,
    ServerError,
    ServerUnavailable,
    SeveralOutputs,
    UnknownTensor,
    WrongDtype,
)

Ask = Callable[..., Prediction]


def _blocking(fake: FakeTransport, **settings: Any) -> Ask:
    def ask(data: object, **options: Any) -> Prediction:
        with HybridClient(transport=fake, **settings) as client:
            return client.predict(data, **options)

    return ask


def _asyncio(fake: FakeTransport, **settings: Any) -> Ask:
    async def once(data: object, options: dict[str, Any]) -> Prediction:
        client = AsyncHybridClient(transport=fake, **settings)
        return await client.predict(data, **options)

    return lambda data, **options: asyncio.run(once(data, options))


@pytest.fixture(params=[_blocking, _asyncio], ids=["blocking", "asyncio"])
def client_of(request: pytest.FixtureRequest) -> Callable[..., Ask]:
    """Make a function that asks through a new client of either kind."""
    made: Callable[..., Ask] = request.param
    return made


def _rows(count: int) -> np.ndarray:
    return np.arange(count * 2, dtype=np.float32).reshape(count, 2)


def test_a_hybrid_answers_and_says_who_served(fake: FakeTransport, client_of: Callable[..., Ask]) -> None:
    answer = client_of(fake, model="m")(_rows(3))
    np.testing.assert_array_equal(answer.output, _rows(3) * 2)
    assert answer.output.dtype == np.float32
    assert list(answer.outputs) == ["y"]
    assert (answer.served_by, answer.served_by_rows) == ("onnx", ("onnx",) * 3)
    assert (answer.model, answer.model_version) == ("m", "1")
    assert answer.inference_time_ms > 0


def test_a_model_that_is_no_hybrid_has_no_server_to_name(fake: FakeTransport, client_of: Callable[..., Ask]) -> None:
    answer = client_of(fake)(_rows(1), model="plain")
    assert (answer.served_by, answer.served_by_rows) == (None, ())


def test_the_model_of_the_call_goes_before_the_clients(fake: FakeTransport, client_of: Callable[..., Ask]) -> None:
    assert client_of(fake, model="m")(_rows(1), model="plain").model == "plain"


def test_a_call_without_any_model_is_refused(fake: FakeTransport, client_of: Callable[..., Ask]) -> None:
    with pytest.raises(InvalidRequest, match='give model="NAME"'):
        client_of(fake)(_rows(1))


def test_rows_that_differ_are_mixed(client_of: Callable[..., Ask], doubling: Callable[..., FakeModel]) -> None:
    fake = FakeTransport(doubling("m", served_by="onnx"))
    fake.script({"y": _rows(2), "served_by": np.array([[b"onnx"], [b"original"]], dtype=object)})
    answer = client_of(fake, model="m")(_rows(2))
    assert (answer.served_by, answer.served_by_rows) == ("mixed", ("onnx", "original"))


def test_a_large_batch_is_split_and_joined_in_order(fake: FakeTransport, client_of: Callable[..., Ask]) -> None:
    answer = client_of(fake, model="m")(_rows(11), request_id="r")
    np.testing.assert_array_equal(answer.output, _rows(11) * 2)
    assert sorted((request.request_id, len(request.inputs[0].array)) for request in fake.requests) == [
        ("r.0", 4),
        ("r.1", 4),
        ("r.2", 3),
    ]
    assert len(answer.served_by_rows) == 11
    assert answer.request_id == "r"


def test_parts_that_different_twins_served_are_mixed(fake: FakeTransport, client_of: Callable[..., Ask]) -> None:
    def by_original(call: Infer) -> InferAnswer:
        rows = len(call.inputs[0].array)
        served_by = np.full((rows, 1), b"original", dtype=object)
        return InferAnswer("m", "1", {"y": call.inputs[0].array, "served_by": served_by})

    fake.script(by_original)
    assert client_of(fake, model="m")(_rows(8)).served_by == "mixed"


def test_the_server_is_told_what_is_left_of_the_deadline(fake: FakeTransport, client_of: Callable[..., Ask]) -> None:
    client_of(fake, model="m")(_rows(1), deadline_s=2.5, parameters={"trace": "on", "shadow": True})
    (request,) = fake.requests
    left = request.parameters["deadline_ms"]
    assert isinstance(left, int)
    assert 2000 < left <= 2500
    assert {**request.parameters, "deadline_ms": 0} == {"trace": "on", "shadow": True, "deadline_ms": 0}
    assert all(sent.timeout_s <= 2.5 for sent in fake.sent)


@pytest.mark.parametrize("name", ["deadline_ms", "timeout", "priority", "triton_enable_empty_final_response"])
def test_a_reserved_parameter_is_refused(fake: FakeTransport, client_of: Callable[..., Ask], name: str) -> None:
    with pytest.raises(InvalidRequest, match=name):
        client_of(fake, model="m")(_rows(1), parameters={name: 1})
    assert not fake.sent


def test_a_parameter_of_another_type_is_refused(fake: FakeTransport, client_of: Callable[..., Ask]) -> None:
    with pytest.raises(InvalidRequest, match="'tags' is list; expected str, int, float or bool"):
        client_of(fake, model="m")(_rows(1), parameters={"tags": ["a"]})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("a", 2**63, "'a' is an integer of more than 64 bits"),
        ("a", -(2**63) - 1, "'a' is an integer of more than 64 bits"),
        ("a", "\ud800", "'a', or its value, is not valid Unicode"),
        ("\ud800", 1, r"'\\ud800', or its value, is not valid Unicode"),
    ],
)
def test_a_parameter_that_cannot_be_sent_is_refused(
    fake: FakeTransport, client_of: Callable[..., Ask], name: str, value: object, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        client_of(fake, model="m")(_rows(1), parameters={name: value})
    assert not fake.sent


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), True, 0.5, "ß"])
def test_a_parameter_is_sent_as_it_is(fake: FakeTransport, client_of: Callable[..., Ask], value: object) -> None:
    client_of(fake, model="m")(_rows(1), parameters={"a": value})
    assert fake.requests[0].parameters["a"] == value


@pytest.mark.parametrize("request_id", [5, 0, b"r", "\ud800"])
def test_a_request_id_that_cannot_be_sent_is_refused(
    fake: FakeTransport, client_of: Callable[..., Ask], request_id: object
) -> None:
    with pytest.raises(InvalidRequest, match=r"the request id is .*; expected text"):
        client_of(fake, model="m")(_rows(1), request_id=request_id)
    assert not fake.sent


def test_only_wanted_outputs_are_asked_for(client_of: Callable[..., Ask], doubling: Callable[..., FakeModel]) -> None:
    two = {"y": ("FP32", [-1, 2]), "z": ("FP32", [-1, 2])}
    model = doubling("m", outputs=two, answer=lambda inputs: {"y": inputs["x"], "z": inputs["x"]}, served_by="original")
    fake = FakeTransport(model)
    answer = client_of(fake, model="m")(_rows(1), outputs=["z"])
    assert list(answer.outputs) == ["z"]
    assert answer.served_by == "original"
    assert fake.requests[0].outputs == ("z", "served_by")
    with pytest.raises(UnknownTensor, match="no output 'q'; it has 'y', 'z'"):
        client_of(fake, model="m")(_rows(1), outputs=["q"])


def test_outputs_come_in_the_models_order(client_of: Callable[..., Ask], doubling: Callable[..., FakeModel]) -> None:
    two = {"y": ("FP32", [-1, 2]), "z": ("FP32", [-1, 2])}
    fake = FakeTransport(doubling("m", outputs=two, answer=lambda inputs: {"z": inputs["x"], "y": inputs["x"]}))
    assert list(client_of(fake, model="m")(_rows(1)).outputs) == ["y", "z"]


def test_several_outputs_have_no_single_one(client_of: Callable[..., Ask], doubling: Callable[..., FakeModel]) -> None:
    fake = FakeTransport(doubling("m"))
    fake.script({"a": _rows(1), "b": _rows(1)})
    answer = client_of(fake, model="m")(_rows(1))
    with pytest.raises(SeveralOutputs, match="'a', 'b'"):
        _ = answer.output


def test_text_outputs_are_decoded_on_demand(client_of: Callable[..., Ask], doubling: Callable[..., FakeModel]) -> None:
    fake = FakeTransport(doubling("m", outputs={"label": ("BYTES", [-1, 1])}))
    fake.script({"label": np.array([["Kätzchen".encode()]], dtype=object)})
    answer = client_of(fake, model="m")(_rows(1))
    assert answer.text("label").tolist() == [["Kätzchen"]]
    with pytest.raises(UnknownTensor):
        answer.text("q")


@pytest.mark.parametrize("error", [InvalidRequest("here", "x"), ServerError("here", "x")])
def test_other_errors_are_not_sent_again(
    fake: FakeTransport, client_of: Callable[..., Ask], error: InvalidRequest | ServerError
) -> None:
    fake.script(error)
    with pytest.raises(type(error)):
        client_of(fake, model="m")(_rows(1))
    assert len(fake.requests) == 1


def test_an_unavailable_server_is_asked_again(fake: FakeTransport, client_of: Callable[..., Ask]) -> None:
    fake.script(ServerUnavailable("here", "queue full"), ServerUnavailable("here", "queue full"))
    assert client_of(fake, model="m")(_rows(1)).served_by == "onnx"
    assert len(fake.requests) == 3
    budgets = [request.parameters["deadline_ms"] for request in fake.requests]
    assert budgets == sorted(budgets, reverse=True)  # type: ignore[type-var]
    assert len(set(budgets)) == 3


def test_without_retries_it_is_asked_once(fake: FakeTransport, client_of: Callable[..., Ask]) -> None:
    fake.script(ServerUnavailable("here", "queue full"))
    with pytest.raises(ServerUnavailable):
        client_of(fake, model="m", retries=0)(_rows(1))
    assert len(fake.requests) == 1


def test_an_error_in_one_part_is_the_error_of_the_call(fake: FakeTransport, client_of: Callable[..., Ask]) -> None:
    fake.script(ServerError("inference on 'm', rows 0 to 3, here", "out of memory"))
    with pytest.raises(ServerError, match="out of memory"):
        client_of(fake, model="m", concurrency=1)(_rows(40))


def test_a_late_part_ends_at_the_deadline(fake: FakeTransport, client_of: Callable[..., Ask]) -> None:
    fake.script(DeadlineExceeded("inference on 'm', rows 0 to 3, here", "no answer in time"))
    with pytest.raises(DeadlineExceeded, match="deadline of 5 s"):
        client_of(fake, model="m")(_rows(8), deadline_s=5)


def test_a_wrong_dtype_is_refused_before_anything_is_sent(fake: FakeTransport, client_of: Callable[..., Ask]) -> None:
    with pytest.raises(WrongDtype, match=r"takes float32 \(FP32\), and got float64"):
        client_of(fake, model="m")(np.ones((1, 2)))
    assert not fake.requests


def test_a_model_that_nobody_knows_is_not_found_and_the_known_are_listed(
    fake: FakeTransport, client_of: Callable[..., Ask]
) -> None:
    with pytest.raises(ModelNotFound, match="the server has 'm', 'm_onnx', 'm_original', 'plain'"):
        client_of(fake)(_rows(1), model="nope")


def test_an_unloaded_model_is_not_ready(fake: FakeTransport, client_of: Callable[..., Ask]) -> None:
    with HybridClient(transport=fake) as client:
        client.unload("m")
    with pytest.raises(ModelNotReady, match="UNAVAILABLE, unloaded"):
        client_of(fake)(_rows(1), model="m")


def test_a_version_that_is_not_served_is_not_found(fake: FakeTransport, client_of: Callable[..., Ask]) -> None:
    with pytest.raises(ModelNotFound, match="the server has 'm version 1'"):
        client_of(fake)(_rows(1), model="m", version=2)
    with pytest.raises(InvalidRequest, match="a version is a number"):
        client_of(fake)(_rows(1), model="m", version="newest")


def test_not_found_by_a_model_that_is_served_is_the_models_own_failure(
    fake: FakeTransport, client_of: Callable[..., Ask]
) -> None:
    fake.script(ModelNotFound("here", "no such vocabulary"))
    with pytest.raises(ServerError, match="no such vocabulary"):
        client_of(fake, model="m")(_rows(1))


def test_an_answer_without_served_by_is_invalid(fake: FakeTransport, client_of: Callable[..., Ask]) -> None:
    fake.script({"y": _rows(1)})
    with pytest.raises(InvalidAnswer, match="served_by is missing"):
        client_of(fake, model="m")(_rows(1))


def test_the_description_is_read_once(fake: FakeTransport) -> None:
    with HybridClient(model="m", transport=fake) as client:
        client.predict(_rows(1))
        before = len(fake.sent)
        client.predict(_rows(1))
    assert len(fake.sent) == before + 1


def test_a_model_replaced_by_one_with_other_shapes_is_described_anew(doubling: Callable[..., FakeModel]) -> None:
    fake = FakeTransport(doubling("m"))
    wider = FakeTransport(doubling("m", inputs={"x": ("FP32", [-1, 3])}))
    with HybridClient(model="m", transport=fake) as client:
        client.predict(_rows(1))
        fake._models = wider._models
        assert client.predict(np.ones((1, 3), np.float32)).output.shape == (1, 3)


def test_a_model_replaced_by_one_with_smaller_batches_is_described_anew(doubling: Callable[..., FakeModel]) -> None:
    fake = FakeTransport(doubling("m", max_batch_size=8))
    smaller = FakeTransport(doubling("m", max_batch_size=2))
    with HybridClient(model="m", transport=fake) as client:
        client.predict(_rows(8))
        fake._models = smaller._models
        np.testing.assert_array_equal(client.predict(_rows(8)).output, _rows(8) * 2)


def test_a_closed_client_says_so(fake: FakeTransport) -> None:
    client = HybridClient(model="m", transport=fake)
    client.close()
    with pytest.raises(ClientClosed):
        client.predict(_rows(1))
    assert fake.closed


def test_parts_run_side_by_side_but_not_more_than_allowed(doubling: Callable[..., FakeModel]) -> None:
    running, most, lock = [0], [0], threading.Lock()

    def slowly(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1
        return {"y": inputs["x"]}

    fake = FakeTransport(doubling("m", max_batch_size=1, answer=slowly))
    with HybridClient(model="m", transport=fake, concurrency=3) as client:
        np.testing.assert_array_equal(client.predict(_rows(12)).output, _rows(12))
    assert most[0] == 3


async def test_asyncio_parts_run_side_by_side_but_not_more_than_allowed(doubling: Callable[..., FakeModel]) -> None:
    running, most = [0], [0]

    class Slow(FakeTransport):
        async def asend(self, call: Any, timeout_s: float) -> Any:
            if not isinstance(call, Infer):
                return await super().asend(call, timeout_s)
            running[0] += 1
            most[0] = max(most[0], running[0])
            await asyncio.sleep(0.01)
            running[0] -= 1
            return await super().asend(call, timeout_s)

    fake = Slow(doubling("m", max_batch_size=1))
    async with AsyncHybridClient(model="m", transport=fake, concurrency=3) as client:
        np.testing.assert_array_equal((await client.predict(_rows(12))).output, _rows(12) * 2)
    assert most[0] == 3


async def test_an_error_in_one_asyncio_part_cancels_the_others(doubling: Callable[..., FakeModel]) -> None:
    cancelled: list[str] = []

    class Stuck(FakeTransport):
        async def asend(self, call: Any, timeout_s: float) -> Any:
            if isinstance(call, Infer) and not call.request_id.endswith(".0"):
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    cancelled.append(call.request_id)
                    raise
            return await super().asend(call, timeout_s)

    fake = Stuck(doubling("m", max_batch_size=1))
    fake.script(ServerError("here", "oops"))
    async with AsyncHybridClient(model="m", transport=fake) as client:
        with pytest.raises(ServerError, match="oops"):
            await client.predict(_rows(3), request_id="r")
    assert sorted(cancelled) == ["r.1", "r.2"]


async def test_cancelling_the_task_cancels_the_call(doubling: Callable[..., FakeModel]) -> None:
    class Stuck(FakeTransport):
        async def asend(self, call: Any, timeout_s: float) -> Any:
            return await (asyncio.sleep(60) if isinstance(call, Infer) else super().asend(call, timeout_s))

    async with AsyncHybridClient(model="m", transport=Stuck(doubling("m", max_batch_size=1))) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.predict(_rows(2)), 0.05)


def test_both_clients_have_the_same_verbs() -> None:
    def verbs(client: type) -> set[str]:
        return {name for name in dir(client) if not name.startswith("_")}

    assert verbs(HybridClient) == verbs(AsyncHybridClient)


def _signature(verb: Callable[..., object] | Callable[..., Awaitable[object]]) -> list[str]:

    return [
        str(parameter).replace("AsyncTransport", "Transport")
        for parameter in inspect.signature(verb).parameters.values()
    ]


@pytest.mark.parametrize("verb", ["__init__", "predict", "describe", "models", "statistics", "load", "unload"])
def test_both_clients_take_the_same_arguments(verb: str) -> None:
    assert _signature(getattr(HybridClient, verb)) == _signature(getattr(AsyncHybridClient, verb))


@pytest.mark.parametrize(("rows", "aside"), [(2, False), (3000, True)])
async def test_asyncio_converts_many_values_outside_the_loops_thread(
    doubling: Callable[..., FakeModel], rows: int, *, aside: bool
) -> None:
    threads = []

    class Watched(float):
        def __float__(self) -> float:
            threads.append(threading.current_thread())
            return 1.0

    fake = FakeTransport(doubling("m", max_batch_size=rows))
    async with AsyncHybridClient(model="m", transport=fake) as client:
        answer = await client.predict([[1.0, Watched()]] * rows)
        assert answer.output.tolist() == [[2.0, 2.0]] * rows
        assert {thread is not threading.main_thread() for thread in threads} == {aside}
        with pytest.raises(WrongDtype, match="a list of strings"):
            await client.predict({"x": [["a", "b"]] * rows})
