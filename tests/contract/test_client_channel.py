"""The gRPC transports against a server of this test's own: what tritonclient's defaults would not do."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc
from understudy_client import AsyncHybridClient, HybridClient, Infer, RequestTooLarge, Tensor, grpc_transport
from understudy_client.settings import Connection, connection

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class _Echo(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Knows one model, y = x, and notes from where each request for the index came."""

    def __init__(self) -> None:
        self.peers: list[str] = []

    def RepositoryIndex(self, request: object, context: Any) -> object:  # noqa: N802 - the names in the protocol
        self.peers.append(context.peer())
        return service_pb2.RepositoryIndexResponse(models=[{"name": "m", "version": "1", "state": "READY"}])

    def ModelMetadata(self, request: object, context: object) -> object:  # noqa: N802
        tensor = {"datatype": "FP32", "shape": [-1, -1]}
        return service_pb2.ModelMetadataResponse(
            name="m", versions=["1"], inputs=[{"name": "x", **tensor}], outputs=[{"name": "y", **tensor}]
        )

    def ModelConfig(self, request: object, context: object) -> object:  # noqa: N802
        return service_pb2.ModelConfigResponse(config={"name": "m", "max_batch_size": 1024})

    def ModelInfer(self, request: Any, context: object) -> object:  # noqa: N802
        response = service_pb2.ModelInferResponse(model_name="m", model_version="1", id=request.id)
        response.outputs.add(name="y", datatype="FP32", shape=request.inputs[0].shape)
        response.raw_output_contents.extend(request.raw_input_contents)
        return response


def _serve(port: int = 0) -> tuple[grpc.Server, _Echo, str]:
    server, echo = grpc.server(ThreadPoolExecutor(2), options=UNLIMITED), _Echo()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(echo, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, echo, f"127.0.0.1:{port}"


@pytest.fixture
def served() -> Iterator[tuple[_Echo, str]]:
    server, echo, url = _serve()
    yield echo, url
    server.stop(None).wait()


def _blocking(url: str, ask: Callable[[Any], Any]) -> Any:
    with HybridClient(url, model="m") as client:
        return ask(client)


def _asyncio(url: str, ask: Callable[[Any], Any]) -> Any:
    async def run() -> Any:
        async with AsyncHybridClient(url, model="m") as client:
            return await ask(client)

    return asyncio.run(run())


@pytest.mark.parametrize("through", [_blocking, _asyncio], ids=["blocking", "asyncio"])
def test_messages_above_grpcs_default_of_four_megabytes_pass(
    served: tuple[_Echo, str], through: Callable[..., Any]
) -> None:
    data = np.arange(4_000_000, dtype=np.float32).reshape(1000, 4000)
    answer = through(served[1], lambda client: client.predict(data))
    np.testing.assert_array_equal(answer.output, data)


def test_a_message_that_grpc_cannot_carry_is_refused_before_it_is_copied() -> None:
    row = np.broadcast_to(np.float32(0), (600, 1_000_000))  # 2.4 GB to send, 4 bytes to hold
    call = Infer("m", inputs=(Tensor("x", "FP32", row),))
    transport = grpc_transport.GrpcTransport(connection("127.0.0.1:1", "grpc"))
    with pytest.raises(RequestTooLarge, match="its inputs hold 2,400,000,000 bytes"):
        transport.send(call, 1.0)
    transport.close()


def test_an_idle_connection_is_closed_and_the_next_call_opens_another(
    served: tuple[_Echo, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    echo, url = served
    monkeypatch.setattr(grpc_transport, "IDLE_S", 1.0)
    with HybridClient(url, retries=0) as client:
        client.models()
        client.models()
        time.sleep(2.5)
        client.models()
    first, again, later = echo.peers
    assert first == again
    assert later != first


@pytest.mark.parametrize("through", [_blocking, _asyncio], ids=["blocking", "asyncio"])
def test_calls_are_spread_over_the_servers_that_a_name_stands_for_and_pass_by_one_that_is_gone(
    through: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (gone, first, one), (stays, second, other) = _serve(), _serve()
    # As a name with two addresses, which no test can add to the machine's.
    monkeypatch.setattr(Connection, "address", f"ipv4:{one},{other}")

    def spread(models: Callable[[], Any]) -> Iterator[Any]:
        end = time.monotonic() + 10
        while not (first.peers and second.peers):
            assert time.monotonic() < end, (first.peers, second.peers)
            yield models()
        gone.stop(None).wait()
        before = len(second.peers)
        for _ in range(10):
            yield models()
        assert len(second.peers) == before + 10

    def ask(client: HybridClient) -> None:
        for answer in spread(client.models):
            assert [model.name for model in answer] == ["m"]

    async def aask(client: AsyncHybridClient) -> None:
        for answer in spread(client.models):
            assert [model.name for model in await answer] == ["m"]

    through("triton.example", ask if through is _blocking else aask)
    stays.stop(None).wait()


def test_a_server_that_comes_back_is_found_by_the_retries() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    started: list[grpc.Server] = []
    later = threading.Timer(0.2, lambda: started.append(_serve(port)[0]))
    later.start()
    try:
        with HybridClient(f"127.0.0.1:{port}", retries=8, timeout_s=10) as client:
            assert [model.name for model in client.models()] == ["m"]
    finally:
        later.join()
        started[0].stop(None).wait()
