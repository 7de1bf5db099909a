import numpy as np
import pytest
from understudy_client import (
    AsyncTransport,
    FakeTransport,
    HybridClient,
    InferAnswer,
    InvalidRequest,
    ServerError,
    Transport,
)
from understudy_client.calls import Infer, Tensor


def test_it_is_both_kinds_of_transport(fake: FakeTransport) -> None:
    assert isinstance(fake, Transport)
    assert isinstance(fake, AsyncTransport)


def test_it_records_every_call_with_its_time(fake: FakeTransport) -> None:
    with HybridClient(model="plain", transport=fake, timeout_s=3) as client:
        client.predict([[1.0, 2.0]])
    assert [sent.call.title for sent in fake.sent] == [
        "reading the metadata of 'plain'",
        "reading the configuration of 'plain'",
        "inference on 'plain'",
    ]
    assert all(0 < sent.timeout_s <= 3 for sent in fake.sent)


def test_turns_are_taken_in_order_and_then_the_model_answers(fake: FakeTransport) -> None:
    def third(call: Infer) -> InferAnswer:
        return InferAnswer("plain", "9", {"y": call.inputs[0].array})

    fake.script(ServerError("here", "first"), {"y": np.zeros((1, 2))}, third)
    with HybridClient(model="plain", transport=fake) as client:
        with pytest.raises(ServerError, match="first"):
            client.predict([[1.0, 2.0]])
        assert client.predict([[1.0, 2.0]]).output.tolist() == [[0, 0]]
        assert client.predict([[1.0, 2.0]]).model_version == "9"
        assert client.predict([[1.0, 2.0]]).output.tolist() == [[2, 4]]
        counted = client.statistics().hybrid
    assert counted is not None
    assert (counted.successes, counted.failures, counted.rows) == (3, 1, 3)


def test_it_refuses_a_batch_that_a_server_would_refuse(fake: FakeTransport) -> None:
    five = Infer("plain", inputs=(Tensor("x", "FP32", np.ones((5, 2), np.float32)),))
    with pytest.raises(InvalidRequest, match="batch-size must be <= 4"):
        fake.send(five, 1.0)


def test_loading_starts_the_counters_anew(fake: FakeTransport) -> None:
    with HybridClient(model="plain", transport=fake) as client:
        client.predict([[1.0, 2.0]])
        client.load("plain")
        counted = client.statistics().hybrid
    assert counted is not None
    assert counted.successes == 0
