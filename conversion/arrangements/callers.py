"""Callers of a running Triton: one or many, each asking again as soon as it is answered."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..errors import ReleaseRefused
from ..proof.samples import Batch

__all__ = ["Callers", "Window", "callers"]

_INFER = "/inference.GRPCInferenceService/ModelInfer"
_TIMEOUT_S = 60.0
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # The server is this machine's, whose loopback no proxy of the environment can reach.
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True)
class Window:
    """What callers met: the milliseconds of each request, and the seconds from the first one to the last answer."""

    ms: tuple[float, ...]
    seconds: float

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return len(self.ms) / self.seconds

    def percentile(self, part: float) -> float:
        """The least time, in milliseconds, within which this part of the requests was answered."""
        return sorted(self.ms)[math.ceil(part * len(self.ms)) - 1]


class Callers:
    """Callers who all send the same inputs. `callers` makes one, and closes its connections."""

    def __init__(self, connections: Sequence[Callable[..., bytes]], inputs: Batch) -> None:
        self._connections = connections
        self._inputs = inputs

    def ask(self, model: str, count: int, *, seconds: float, least: int) -> Window:
        """Let the first `count` of them ask for so many seconds, each at least `least` times.

        Raises ReleaseRefused with the reason of a request that failed.
        """
        # Packed once: the callers share the machine with the server, so a request must cost them next to nothing.
        request = _packed(model, self._inputs)
        together = threading.Barrier(count)
        with ThreadPoolExecutor(count) as pool:
            asked = [
                pool.submit(_ask, connection, request, together, seconds, least)
                for connection in self._connections[:count]
            ]
        spans = [span for one in asked for span in one.result()]
        first, last = min(start for start, _ in spans), max(end for _, end in spans)
        return Window(tuple((end - start) * 1e3 for start, end in spans), last - first)


@contextlib.contextmanager
def callers(address: str, count: int, inputs: Batch) -> Iterator[Callers]:
    """`count` callers of the server at host:port, with a connection each; they send `inputs` as they are."""
    import grpc

    with contextlib.ExitStack() as opened:
        connections = []
        for number in range(count):
            # Without an option that differs, gRPC would put all of them on one connection.
            options = [*_OPTIONS, ("understudy.caller", number)]
            channel = opened.enter_context(grpc.insecure_channel(address, options=options))
            # The bytes go out and come back as they are.
            connections.append(channel.unary_unary(_INFER))
        yield Callers(connections, inputs)


def _ask(
    connection: Callable[..., bytes], request: bytes, together: threading.Barrier, seconds: float, least: int
) -> list[tuple[float, float]]:
    """When each request was sent, and when it was answered."""
    import grpc

    spans: list[tuple[float, float]] = []
    together.wait()
    deadline = time.perf_counter() + seconds
    while len(spans) < least or time.perf_counter() < deadline:
        start = time.perf_counter()
        try:
            connection(request, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            raise ReleaseRefused(error.details() or str(error.code())) from error
        spans.append((start, time.perf_counter()))
    return spans


def _packed(model: str, inputs: Batch) -> bytes:
    """A request for all outputs."""
    from tritonclient.grpc import service_pb2
    from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

    request = service_pb2.ModelInferRequest(model_name=model)
    for name, array in inputs.items():
        text = array.dtype.kind in "OSU"
        wire = "BYTES" if text else np_to_triton_dtype(array.dtype)
        request.inputs.add(name=name, datatype=wire, shape=array.shape)
        request.raw_input_contents.append(serialize_byte_tensor(array).item() if text else array.tobytes())
    packed: bytes = request.SerializeToString()
    return packed
