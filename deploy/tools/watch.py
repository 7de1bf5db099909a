#!/usr/bin/env python3
"""The watch of `python -m serving watch`, as a sidecar: it has the control API's key, and tells on the pod's address.

UNDERSTUDY_CONTROL_KEY is the key, UNDERSTUDY_CA the file with the certificates to trust where gRPC is served over TLS.
In a pod with one process namespace it sees deaths by itself; a Triton that ended is started again by the kubelet, and
looked for until it is back. Ends with SIGTERM, exit code 0.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from serving.commands.shared import say
from serving.control import ModelControl
from serving.ending import end
from serving.errors import KeyRefused, RepositoryUnreadable, ServingError
from serving.stubs import Stubs
from serving.watch.rounds import Watch
from serving.watch.telling import Telling

_PAUSE_S = 1.0


def server_pid(proc: Path = Path("/proc")) -> int | None:
    """The oldest process that is a tritonserver, in this process namespace; None where there is none."""
    found = []
    for path in proc.glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == "tritonserver":
                found.append(int(path.parent.name))
        except OSError:
            continue
    return min(found, default=None)


def silence(control: ModelControl) -> str:
    """Why the server does not answer yet; nothing once it does. While models load nothing listens: no alarm for that.

    One that refuses the key, or cannot list its repository, answers: that is for the watch to tell.
    """
    try:
        control.index()
    except (KeyRefused, RepositoryUnreadable):
        return ""
    except ServingError as error:
        return str(error)
    return ""


def await_server(control: ModelControl, tell: Callable[[str], None], stop: threading.Event) -> None:
    """Wait until the server answers, or for the end; says why it does not, once for each reason."""
    said = ""
    while not stop.is_set() and (reason := silence(control)):
        if reason != said:
            tell(f"waits for the server: {reason}")
            said = reason
        stop.wait(_PAUSE_S)


def look_after(control: ModelControl, telling: Telling, repository: Path | None, stop: threading.Event) -> None:
    """Watch one server after the other, each for as long as its process lives, until told to stop."""
    while not stop.is_set():
        pid = server_pid()
        gone = threading.Event()
        stubs = Stubs(pid) if pid is not None else None
        watch = Watch(control, telling, repository=repository, stubs=stubs)
        watching = threading.Thread(target=watch.run, args=(gone,))
        watching.start()
        while not stop.wait(_PAUSE_S) and server_pid() == pid:
            pass
        gone.set()
        watching.join()


def main(arguments: Sequence[str]) -> int:
    """Watch until SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grpc-url", default="127.0.0.1:8001", help="the pod's Triton (%(default)s)")
    parser.add_argument("--repository", type=Path, help="whose golden samples are asked (default: zeros)")
    parser.add_argument("--metrics-address", default="0.0.0.0", help="where the metrics are (%(default)s)")
    parser.add_argument("--metrics-port", type=int, default=8003, help="their port (%(default)s)")
    given = parser.parse_args(arguments)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    from prometheus_client import CollectorRegistry, start_http_server

    def tell(text: str) -> None:
        say(f"watch: {text}")

    registry = CollectorRegistry()
    with ModelControl.from_environment(given.grpc_url) as control:
        await_server(control, tell, stop)
        if stop.is_set():
            return 0
        server, thread = start_http_server(given.metrics_port, given.metrics_address, registry)
        telling = Telling(tell, registry)
        look_after(control, telling, given.repository, stop)
        server.shutdown()
        server.server_close()
        thread.join()
    return 0


if __name__ == "__main__":
    end(main(sys.argv[1:]))
