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
import time
from collections.abc import Sequence
from pathlib import Path

from serving.control import ModelControl
from serving.errors import ServingError
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


def answers(control: ModelControl) -> bool:
    """Whether the server listens and takes the key. Before that nothing is told, and nobody called."""
    try:
        control.index()
    except ServingError:
        return False
    return True


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

    registry = CollectorRegistry()
    with ModelControl.from_environment(given.grpc_url) as control:
        while not stop.is_set() and not answers(control):
            time.sleep(_PAUSE_S)
        if stop.is_set():
            return 0
        server, thread = start_http_server(given.metrics_port, given.metrics_address, registry)
        telling = Telling(lambda text: sys.stderr.write(f"watch: {text}\n"), registry)
        look_after(control, telling, given.repository, stop)
        server.shutdown()
        server.server_close()
        thread.join()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
