"""HAProxy in front of several servers, for as long as it is needed, by the files of deploy/haproxy."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.processes import end
from serving import ServingError
from serving.ports import LOOPBACK, choose

__all__ = ["Addresses", "Balancer", "BalancerFailed", "balancer", "configuration"]

_DEPLOY = Path(__file__).parents[2] / "deploy"
_SHIPPED = re.compile(r"^    server (\w+) (\S+)(.*)\n", re.MULTILINE)
# As docs/replicas.md tells to start it: a request's buffers would go back to the system otherwise, and come anew.
_KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(256 << 20)}
_START_S = 60.0
_STOP_S = 20.0
_LOOK_EVERY_S = 0.1


class BalancerFailed(ServingError):
    """HAProxy is not there, or did not start."""

    exit_code = 2


@dataclass(frozen=True)
class Addresses:
    """Where one server listens, as host:port."""

    http: str
    grpc: str


@dataclass(frozen=True)
class Balancer:
    """A running HAProxy: where it listens, as host:port, its socket and its log."""

    process: subprocess.Popen[bytes]
    addresses: Addresses
    socket: str
    log: Path

    def tool(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run replicas.py as its user would."""
        command = [sys.executable, str(_DEPLOY / "haproxy" / "replicas.py"), *arguments, "--socket", self.socket]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=90)


def configuration(servers: Mapping[str, Addresses]) -> str:
    """The shipped haproxy.cfg with these servers in the place of its own, and checks run by this Python."""

    def ours(match: re.Match[str], protocol: str) -> str:
        return "".join(
            f"    server {name} {getattr(at, protocol)}{match[3].replace(f'http/{match[1]}', f'http/{name}')}\n"
            for name, at in servers.items()
        )

    text = (_DEPLOY / "haproxy" / "haproxy.cfg").read_text(encoding="utf-8")
    head, *backends = re.split(r"^(?=backend )", text, flags=re.MULTILINE)
    written = []
    for backend in backends:
        protocol = backend.split()[1]
        shipped = list(_SHIPPED.finditer(backend))
        own = ours(shipped[0], protocol)
        written.append(backend[: shipped[0].start()] + own + backend[shipped[-1].end() :])
    path = f'"{Path(sys.executable).parent}:/usr/bin:/bin"'
    return re.sub(r'(external-check path )".*"', rf"\g<1>{path}", "".join((head, *written)))


@contextlib.contextmanager
def balancer(binary: str, servers: Mapping[str, Addresses], models: Sequence[str]) -> Iterator[Balancer]:
    """HAProxy, once every server answers for each of `models`. Raises BalancerFailed with its last words."""
    # A socket's path is 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="understudy-"))
    try:
        yield from _run(binary, servers, models, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(binary: str, servers: Mapping[str, Addresses], models: Sequence[str], folder: Path) -> Iterator[Balancer]:
    installed = folder / "understudy"
    shutil.copytree(_DEPLOY / "haproxy", installed / "haproxy", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_DEPLOY / "healthcheck.py", installed)
    (installed / "haproxy" / "models").write_text("\n".join((*models, "")), encoding="utf-8")
    (folder / "haproxy.cfg").write_text(configuration(servers), encoding="utf-8")
    ports = choose({"grpc": None, "http": None})
    addresses = Addresses(**{name: f"{LOOPBACK}:{port}" for name, port in ports.items()})
    environment = {
        **os.environ,
        **_KEPT_MEMORY,
        "UNDERSTUDY_HAPROXY_SOCKET": str(folder / "s"),
        "UNDERSTUDY_HAPROXY_CHECK": str(installed / "haproxy" / "check.py"),
        "UNDERSTUDY_HAPROXY_GRPC": addresses.grpc,
        "UNDERSTUDY_HAPROXY_HTTP": addresses.http,
    }
    command, log = [binary, "-f", str(folder / "haproxy.cfg")], folder / "haproxy.log"
    try:
        checked = subprocess.run([*command, "-c"], check=False, env=environment, capture_output=True, text=True)
        if checked.returncode or checked.stderr:
            raise BalancerFailed(f"{binary} does not take deploy/haproxy/haproxy.cfg: {checked.stderr.strip()}")
        with log.open("wb") as stream:
            process = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream, process_group=0)
    except OSError as error:
        raise BalancerFailed(f"{binary} cannot be run: {error.strerror}; apt install haproxy") from error
    made = Balancer(process, addresses, str(folder / "s"), log)
    try:
        _wait(made, servers)
        yield made
    finally:
        end(process, _STOP_S)


def _wait(made: Balancer, servers: Iterable[str]) -> None:
    """Until every server is up."""
    deadline = time.monotonic() + _START_S
    while made.process.poll() is None and not Path(made.socket).exists() and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
    for name in servers:
        enabled = made.tool("enable", name, "--wait", f"{max(0.0, deadline - time.monotonic())}")
        if enabled.returncode:
            said = f"{enabled.stderr.strip()}; {made.log.read_text().strip()[-500:]}"
            raise BalancerFailed(f"HAProxy has not seen every server answer: {said}")
