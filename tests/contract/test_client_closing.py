"""Clients that are closed while a real gRPC server still works on their calls."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc
from understudy_client import AsyncHybridClient, ClientClosed, HybridClient, RequestCancelled


class _Stuck(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers a request for the index only when its connection ends."""

    def __init__(self) -> None:
        self.came = asyncio.Event()

    async def RepositoryIndex(self, request: object, context: Any) -> object:  # noqa: N802 - the name in the protocol
        self.came.set()
        await asyncio.sleep(60)
        return service_pb2.RepositoryIndexResponse()


@pytest.fixture
async def stuck() -> AsyncIterator[tuple[_Stuck, str]]:
    server, servicer = grpc.aio.server(), _Stuck()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer, f"127.0.0.1:{port}"
    await server.stop(None)


async def test_closing_an_asyncio_client_ends_calls_in_flight_with_an_error(stuck: tuple[_Stuck, str]) -> None:
    servicer, url = stuck
    client = AsyncHybridClient(url)
    call = asyncio.create_task(client.models())
    await asyncio.wait_for(servicer.came.wait(), 10)
    await client.close()
    await asyncio.wait([call], timeout=10)
    assert call.done()
    assert not call.cancelled()
    error = call.exception()
    assert type(error) is RequestCancelled
    assert str(error).startswith(f"listing the models at {url} (grpc) was cancelled: the client was closed;")
    with pytest.raises(ClientClosed):
        await client.models()


async def test_a_task_group_goes_on_after_a_client_was_closed_in_it(stuck: tuple[_Stuck, str]) -> None:
    servicer, url = stuck
    client = AsyncHybridClient(url)
    ended: list[str] = []

    async def call() -> None:
        with pytest.raises(RequestCancelled):
            await client.models()
        ended.append("call")

    async with asyncio.TaskGroup() as group:
        group.create_task(call())
        await asyncio.wait_for(servicer.came.wait(), 10)
        await client.close()
    assert ended == ["call"]


@pytest.mark.parametrize("closes", [False, True], ids=["open", "closed at the same time"])
async def test_a_call_that_is_cancelled_is_cancelled(stuck: tuple[_Stuck, str], closes: bool) -> None:
    servicer, url = stuck
    client = AsyncHybridClient(url)
    call = asyncio.create_task(client.models())
    await asyncio.wait_for(servicer.came.wait(), 10)
    call.cancel()
    if closes:
        await client.close()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert call.cancelled()
    await client.close()


async def test_a_time_limit_around_a_call_ends_it(stuck: tuple[_Stuck, str]) -> None:
    async with AsyncHybridClient(stuck[1]) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.models(), 0.3)


class _Waiting(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self) -> None:
        self.came, self.release = threading.Event(), threading.Event()

    def RepositoryIndex(self, request: object, context: Any) -> object:  # noqa: N802
        self.came.set()
        self.release.wait(20)
        return service_pb2.RepositoryIndexResponse()


@pytest.fixture
def waiting() -> Iterator[tuple[_Waiting, str]]:
    server, servicer = grpc.server(ThreadPoolExecutor(1)), _Waiting()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    servicer.release.set()
    server.stop(None).wait()


def test_closing_a_blocking_client_ends_calls_in_flight_with_the_same_error(waiting: tuple[_Waiting, str]) -> None:
    servicer, url = waiting
    client = HybridClient(url)
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(client.models)
        assert servicer.came.wait(10)
        client.close()
        with pytest.raises(RequestCancelled):
            call.result(timeout=10)
