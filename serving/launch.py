"""Bring one tritonserver process up: find it, lay out its files, start it, wait until it listens."""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from python_backend.limits import available_cores
from serving import gpu as gpu_of_machine
from serving.command import loaded_ahead, server_arguments, server_environment
from serving.errors import PortTaken, ServerFailed
from serving.layout import lay_out_backends, plain_path
from serving.loads import Together, wait_for
from serving.locate import find_installation, find_python
from serving.ports import LOOPBACK, choose
from serving.process import ServerProcess
from serving.repository import ServedModel, processes_of
from serving.run_directory import hold, make_run_directory, sweep_run_directories
from serving.shared_memory import free_bytes, region_bytes, sweep_orphans
from serving.state import refuse_another
from serving.stubs import Stubs, end_orphans

_TAIL_LINES = 15
# Triton's own error lines ("E1123 08:52:26.6 …"), and what it prints before it can log.
_ERROR = re.compile(r"E\d{4} |.*(unrecognized option|terminate called|[Ee]rror:|failed to )")
_PORT_ATTEMPTS = 3


@dataclass(frozen=True)
class Order:
    """What to start. Ports that are None are free ones; `log_path` None puts the log into the run directory.

    `regions` is first size and growth of a stub's shared memory in bytes, None for what suits this machine and the
    `models` that will be loaded. Those in `ahead` are loaded before the server listens, as far as they load, within
    `load_timeout_s`.
    """

    repository: Path
    ports: Mapping[str, int | None]
    log_path: Path | None
    start_timeout_s: float
    drain_s: int
    regions: tuple[int, int] | None
    extra_arguments: Sequence[str]
    environ: Mapping[str, str]
    load_timeout_s: float
    models: Sequence[ServedModel] = ()
    ahead: Sequence[str] = ()


@dataclass(frozen=True)
class Launched:
    """A server that listens on every port, with the models that were to be loaded ahead."""

    process: ServerProcess
    ports: Mapping[str, int]
    log_path: Path
    run_directory: Path
    held: contextlib.ExitStack
    embedded: bool

    def stop(self, drain_s: float) -> None:
        """End the server, and remove what it leaves."""
        # The embedded server has no other backend than the Python backend.
        self.process.stop(drain_s, stubs_alone=self.embedded)
        _sweep()
        shutil.rmtree(self.run_directory, ignore_errors=True)
        self.held.close()

    def tail(self) -> list[str]:
        """The last errors in the log, else its last lines."""
        return _tail(self.log_path)


def launch(order: Order) -> Launched:
    """Start a server. No process and no shared memory is left behind by an error.

    Raises MachineError for what this machine lacks, and PortTaken, before anything runs; ServerFailed with the end of
    the log, which is then kept for whoever wants to read on; LoadHangs for models that were to be loaded ahead.
    """
    installation = find_installation(order.environ)
    python = find_python() if installation.embedded else None
    choose(order.ports)
    sweep_run_directories()
    _sweep()
    regions = order.regions or region_bytes(free_bytes(), *processes_of(order.models, installation.in_processes))

    def fill(directory: Path) -> tuple[Path, Path]:
        return lay_out_backends(installation, python, directory), plain_path(order.repository, directory)

    run_directory, (backends, repository) = make_run_directory(fill, programs=installation.embedded)
    held = hold(run_directory)
    log_path = order.log_path or run_directory / "triton.log"
    # A model that leaves its place open goes to a GPU where Triton sees one; the system's Triton has all it takes then.
    gpu = gpu_of_machine.present()
    usable = gpu and (not installation.embedded or gpu_of_machine.onnxruntime_knows_it())
    environment = server_environment(
        order.environ, installation, python, available_cores(), hide_gpu=gpu and not usable
    )

    def start() -> tuple[ServerProcess, dict[str, int]]:
        ports = choose(order.ports)
        arguments = server_arguments(
            installation,
            repository=repository,
            backends=backends,
            ports=ports,
            drain_s=order.drain_s,
            regions=regions,
            gpu=usable,
            extra=[*loaded_ahead(order.ahead), *order.extra_arguments],
        )
        return ServerProcess(arguments, environment, log_path), ports

    try:
        process, ports = _run_on_free_ports(start, order, log_path, _PORT_ATTEMPTS)
    except BaseException:
        _sweep()
        held.close()
        raise
    return Launched(process, ports, log_path, run_directory, held, installation.embedded)


def make_way(order: Order, state_path: Path | None) -> None:
    """Refuse what is another server's, then keep the log of the one before.

    Raises StateTaken, PortTaken, PortNotOpened.
    """
    if state_path is not None:
        refuse_another(state_path)
    choose(order.ports)
    if order.log_path is not None:
        put_aside(order.log_path)


def put_aside(log: Path) -> None:
    """Keep a log under another name: it may be all that tells how a server ended."""
    # A folder that may not be written to is told of when the log is opened. Links are /dev/stdout and the like.
    with contextlib.suppress(OSError):
        if log.is_file() and not log.is_symlink():
            log.replace(log.with_name(f"{log.name}.1"))


def _sweep() -> None:
    """Remove what ended servers left: first the processes, since they hold the shared memory."""
    end_orphans()
    sweep_orphans()


def _run_on_free_ports(
    start: Callable[[], tuple[ServerProcess, dict[str, int]]], order: Order, log_path: Path, attempts: int
) -> tuple[ServerProcess, dict[str, int]]:
    process, ports = start()
    try:
        _run_until_live(process, ports, order, log_path)
    except ServerFailed:
        # A free port may be given to another process between our look and the server's bind.
        if attempts == 1 or not _lost_a_free_port(order.ports, ports):
            raise
        return _run_on_free_ports(start, order, log_path, attempts - 1)
    return process, ports


def _lost_a_free_port(wanted: Mapping[str, int | None], chosen: Mapping[str, int]) -> bool:
    try:
        choose({name: port for name, port in chosen.items() if wanted[name] is None})
    except PortTaken:
        return True
    return False


def _run_until_live(process: ServerProcess, ports: Mapping[str, int], order: Order, log_path: Path) -> None:
    try:
        _spawn(process, log_path)
        if order.ahead:
            _wait_until_loaded(process, ports, order, log_path)
        else:
            _wait_until_live(process, ports, log_path, order.start_timeout_s)
    except BaseException:
        process.stop(0)
        raise


def _spawn(process: ServerProcess, log_path: Path) -> None:
    try:
        process.start()
    except OSError as error:
        raise ServerFailed(f"could not be started ({error})", log_path) from error


def _wait_until_loaded(process: ServerProcess, ports: Mapping[str, int], order: Order, log_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        within_s = order.start_timeout_s + order.load_timeout_s
        live = pool.submit(_wait_until_live, process, ports, log_path, within_s)
        models = Together(Stubs(process.pid), order.ahead)
        try:
            wait_for({models.name: live}, models, idle_ends=True)
        except BaseException:
            # Who waits for it in the pool ends with it.
            process.stop(0)
            raise
        live.result()


def _wait_until_live(process: ServerProcess, ports: Mapping[str, int], log_path: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not _live(ports):
        if process.wait(0.02):
            raise ServerFailed(f"ended with {process.exit_status} while starting", log_path, _tail(log_path))
        if time.monotonic() > deadline:
            raise ServerFailed(f"did not become live within {timeout_s:g} s", log_path, _tail(log_path))


def _live(ports: Mapping[str, int]) -> bool:
    """Whether every service listens: HTTP answers that the server is live, and metrics, the last one, accepts."""
    connection = http.client.HTTPConnection(LOOPBACK, ports["http"], timeout=1.0)
    try:
        connection.request("GET", "/v2/health/live")
        if connection.getresponse().status != http.client.OK:
            return False
        socket.create_connection((LOOPBACK, ports["metrics"]), timeout=1.0).close()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _tail(log_path: Path) -> list[str]:
    """The last errors that the log tells of, or its last lines where it tells of none."""
    try:
        lines = log_path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if _ERROR.match(line)][-_TAIL_LINES:] or lines[-_TAIL_LINES:]
