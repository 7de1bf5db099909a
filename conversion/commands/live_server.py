"""The running Triton that a command publishes to, and servers of its own to rehearse and measure on.

The one place of `serving`.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..arrangements.settling import Machine
from ..errors import PublishError, RehearsalImpossible, ReleaseRefused
from ..proof.samples import Batch
from ..publishing.live import Live, LiveServer
from .shared import note

__all__ = ["TritonOverGrpc", "here", "live_of", "machine_of", "rehearsal_server", "tell_files_only", "with_server"]

_INFER_TIMEOUT_S = 60.0
_Answer = TypeVar("_Answer")


def with_server(added: argparse.ArgumentParser, *, rehearsal: bool = True) -> None:
    """The running server that is told of changes."""
    added.add_argument(
        "--server",
        default="auto",
        help="gRPC address of a running Triton to switch over, with UNDERSTUDY_CONTROL_KEY and UNDERSTUDY_CA where it "
        "wants a key or TLS; 'auto' finds one that 'make serve' started on this repository, 'none' only writes files "
        "(%(default)s)",
    )
    if rehearsal:
        text = (
            "start no server of its own, which takes memory and cores: a release is not loaded there before the "
            "running server has it, and how it is best served is not measured"
        )
        added.add_argument("--no-rehearsal", action="store_true", help=text)


def live_of(arguments: argparse.Namespace, report: Callable[[str], None]) -> Live | None:
    """Where the command publishes to; None for files alone. `report` hears what is done there."""
    if arguments.server == "none":
        return None
    url, embedded = arguments.server, arguments.server == "auto"
    if embedded:
        from serving import read_state

        running = read_state()
        if running is None or Path(running.repository).resolve() != arguments.repository.resolve():
            return None
        url = running.grpc_url
    rehearsed = not getattr(arguments, "no_rehearsal", False)
    return Live(TritonOverGrpc(url, embedded=embedded), rehearsal_server if rehearsed else None, report)


def machine_of(arguments: argparse.Namespace) -> Machine | None:
    """Where it is measured how a twin is best served: here, unless servers of its own are unwanted."""
    return None if arguments.no_rehearsal else here()


def here() -> Machine:
    """This machine."""
    from python_backend.limits import available_cores, available_memory

    return Machine(rehearsal_server, available_cores(), available_memory)


def tell_files_only(arguments: argparse.Namespace, live: Live | None) -> None:
    """Say that no server was told of a change, unless that was asked for."""
    if live is None and arguments.server == "auto":
        note(f"no server was told: none runs that 'make serve' started on {arguments.repository}")


class TritonOverGrpc:
    """A server at HOST:PORT. Each call has a connection of its own: between calls this process may fork.

    One that is not `embedded` may want key and certificates: those of the environment, where that has any.
    """

    def __init__(self, address: str, *, embedded: bool = False) -> None:
        self._address = address
        self._embedded = embedded

    @property
    def address(self) -> str:
        """Where it listens, as host:port."""
        return self._address

    def load(self, model: str) -> None:
        """Load what config.pbtxt pins now, in up to 300 s. Raises ReleaseRefused, PublishError."""
        self._ask(f"did not take {model}", lambda control: control.load(model))

    def unload(self, model: str) -> None:
        """Drop the model if it is known. Raises ReleaseRefused, PublishError."""
        from serving import ModelNotFound

        with contextlib.suppress(ModelNotFound):
            self._ask(f"did not drop {model}", lambda control: control.unload(model), ModelNotFound)

    def versions(self, model: str) -> list[int]:
        """The versions that are ready. Raises PublishError."""
        index = self._ask("did not list its models", lambda control: control.index())
        return sorted(one.version for one in index if one.name == model and one.ready and one.version is not None)

    def infer(self, model: str, version: int, inputs: Batch) -> Batch:
        """Run one batch in up to 60 s. Raises ReleaseRefused with the server's reason, PublishError."""
        answer = self._ask(
            f"did not run version {version} of {model}",
            lambda control: control.infer(model, version, _tensors(inputs), _INFER_TIMEOUT_S),
        )
        names = [output.name for output in answer.get_response().outputs]
        return {name: answer.as_numpy(name) for name in names}

    def _ask(self, failed: str, call: Callable[[Any], _Answer], *passed: type[Exception]) -> _Answer:
        from serving import ModelControl, ModelError, ServingError

        try:
            connect = ModelControl if self._embedded else ModelControl.from_environment
            with connect(self._address) as control:
                return call(control)
        except ServingError as error:
            if isinstance(error, passed):
                raise
            told = ReleaseRefused if isinstance(error, ModelError) else PublishError
            raise told(f"the server at {self._address} {failed}: {error}") from error


@contextlib.contextmanager
def rehearsal_server(repository: Path) -> Iterator[LiveServer]:
    """A server of this machine's on `repository`, gone with this process at the latest, however that ends.

    Raises RehearsalImpossible, ReleaseRefused.
    """
    from serving import MachineError, PortTaken, ServerFailed, ServerUnreachable, ServingError, TritonServer

    server = TritonServer(repository, drain_s=1)
    try:
        server.start()
    except (MachineError, PortTaken) as error:
        raise RehearsalImpossible(str(error)) from error
    except ServerFailed as error:
        # One that ended while it loaded may have ended of the release, which nobody else is to load then.
        told = ReleaseRefused if isinstance(error.__cause__, ServerUnreachable) else RehearsalImpossible
        raise told(str(error)) from error
    except ServingError as error:
        raise ReleaseRefused(str(error)) from error
    try:
        yield TritonOverGrpc(server.grpc_url, embedded=True)
    finally:
        server.stop()


def _tensors(inputs: Batch) -> list[Any]:
    from tritonclient.grpc import InferInput
    from tritonclient.utils import np_to_triton_dtype

    tensors = []
    for name, array in inputs.items():
        wire = "BYTES" if array.dtype.kind in "OSU" else np_to_triton_dtype(array.dtype)
        tensors.append(InferInput(name, list(array.shape), wire))
        tensors[-1].set_data_from_numpy(np.ascontiguousarray(array))
    return tensors
