"""The blocking client's threads: parts of batches that share their workers, deadlines and closing."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from understudy_client import (
    ClientClosed,
    DeadlineExceeded,
    FakeModel,
    FakeTransport,
    HybridClient,
    Infer,
    ServerError,
    ServerUnavailable,
)

ROWS = np.zeros((4, 2), np.float32)


class _Held(FakeTransport):
    """Holds the requests whose id begins with ``name`` until ``release``, 3 s at most; ``holds`` counts them."""

    def __init__(self, name: str, *models: FakeModel) -> None:
        super().__init__(*models)
        self._name, self.release, self.holds = name, threading.Event(), threading.Semaphore(0)

    def send(self, call: Any, timeout_s: float) -> Any:
        if isinstance(call, Infer) and call.request_id.startswith(self._name):
            self.holds.release()
            self.release.wait(3)
        return super().send(call, timeout_s)


def _wait_for(transport: _Held, parts: int) -> None:
    for _ in range(parts):
        assert transport.holds.acquire(timeout=10)


def test_a_batch_ends_at_its_deadline_while_the_parts_of_another_hold_the_workers(
    doubling: Callable[..., FakeModel],
) -> None:
    transport = _Held("slow", doubling("m", max_batch_size=1))
    with HybridClient(model="m", transport=transport, concurrency=2) as client, ThreadPoolExecutor(1) as caller:
        slow = caller.submit(client.predict, ROWS, request_id="slow")
        _wait_for(transport, 2)
        started = time.monotonic()
        try:
            with pytest.raises(DeadlineExceeded) as caught:
                client.predict(ROWS, request_id="late", deadline_s=0.3)
            took = time.monotonic() - started
        finally:
            transport.release.set()
        assert slow.result().output.shape == (4, 2)
    assert 0.3 <= took < 2
    assert str(caught.value) == (
        "inference on 'm' was not answered within its deadline of 0.3 s "
        "(4 of its 4 parts had no answer, 4 of them were not sent); allow more time or send fewer rows."
    )
    assert not [request for request in transport.requests if request.request_id.startswith("late")]


def test_a_batch_whose_parts_are_with_the_server_ends_at_its_deadline(doubling: Callable[..., FakeModel]) -> None:
    transport = _Held("stuck.0", doubling("m", max_batch_size=1))
    with HybridClient(model="m", transport=transport) as client:
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"1 of its 4 parts had no answer, 0 of them were not sent"):
            client.predict(ROWS, request_id="stuck", deadline_s=0.3)
        assert time.monotonic() - started < 1.5
        transport.release.set()


def test_a_batch_may_have_more_time_than_threads_can_wait(fake: FakeTransport) -> None:
    with HybridClient(model="m", transport=fake) as client:
        assert client.predict(np.zeros((8, 2), np.float32), deadline_s=1e300).output.shape == (8, 2)


def test_no_part_is_sent_again_after_its_batch_has_failed(doubling: Callable[..., FakeModel]) -> None:
    both = threading.Barrier(2, timeout=10)

    class Failing(FakeTransport):
        def send(self, call: Any, timeout_s: float) -> Any:
            if not isinstance(call, Infer):
                return super().send(call, timeout_s)
            self.sent.append(call)  # type: ignore[arg-type]
            both.wait()
            raise ServerError("here", "oops") if call.request_id.endswith(".0") else ServerUnavailable("here", "full")

    transport = Failing(doubling("m", max_batch_size=1))
    with HybridClient(model="m", transport=transport) as client:
        before = len(transport.sent) + 2
        with pytest.raises(ServerError, match="oops"):
            client.predict(ROWS[:2], request_id="r")
        time.sleep(0.5)  # the first pause is of 0.1 s at most
        assert len(transport.sent) == before + 2


def test_closing_ends_a_batch_whose_other_parts_wait_for_a_worker(doubling: Callable[..., FakeModel]) -> None:
    transport = _Held("r.0", doubling("m", max_batch_size=1))
    client = HybridClient(model="m", transport=transport, concurrency=1, timeout_s=10)
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(client.predict, ROWS, request_id="r")
        _wait_for(transport, 1)
        started = time.monotonic()
        client.close()
        transport.release.set()
        with pytest.raises(ClientClosed):
            answer.result()
    assert time.monotonic() - started < 5
    assert len(transport.requests) == 1


def test_a_batch_is_split_in_a_forked_process_as_in_its_parent(
    doubling: Callable[..., FakeModel], in_child: Callable[[Callable[[], Any]], Any]
) -> None:
    with HybridClient(model="m", transport=FakeTransport(doubling("m", max_batch_size=1)), timeout_s=5) as client:
        ones = np.ones((4, 2), np.float32)

        def ask() -> list[list[float]]:
            answer: list[list[float]] = client.predict(ones).output.tolist()
            return answer

        assert ask() == in_child(ask) == [[2.0, 2.0]] * 4
        # Another thread may hold it at the moment of the fork.
        with client._lock:
            assert in_child(ask) == [[2.0, 2.0]] * 4
        assert ask() == [[2.0, 2.0]] * 4
