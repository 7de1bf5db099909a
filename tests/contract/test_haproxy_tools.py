"""The two scripts beside haproxy.cfg, against a replica and an HAProxy that take their time."""

import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

HAPROXY = Path(__file__).parents[2] / "deploy" / "haproxy"
CONFIG = {
    "name": "net",
    "max_batch_size": 4,
    "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [2]}],
    "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [2]}],
}
STATES = "# pxname,svname,status,scur,stot\nhttp,one,UP,0,3\ngrpc,one,UP,0,4\n"


def script(name):
    spec = spec_from_file_location(f"haproxy_{name}", HAPROXY / f"{name}.py")
    module = module_from_spec(spec)
    # Its dataclasses look for their module there.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def replica():
    """Triton's HTTP address, and the seconds that each of its answers takes."""
    pauses = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            time.sleep(pauses.pop(0))
            body = json.dumps(CONFIG).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_):
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", pauses
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_check_has_one_time_for_all_its_answers(replica, monkeypatch):
    check = script("check")
    monkeypatch.setattr(check, "_TIMEOUT_S", 2.0)
    address, pauses = replica
    pauses += [0.0, 0.0]
    check.ask(address, ["net"])
    pauses += [1.5, 1.5]
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        check.ask(address, ["net"])
    assert time.monotonic() - started < 3.0, "the second answer alone would have been in time"


@pytest.fixture
def haproxy(tmp_path):
    """HAProxy's socket, which answers each call with the states of one replica."""
    path = tmp_path / "s"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def answer():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(100)
                connection.sendall(STATES.encode())

    thread = threading.Thread(target=answer)
    thread.start()
    yield str(path)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_a_wait_outlasts_an_haproxy_that_does_not_answer_for_a_moment(haproxy, monkeypatch):
    replicas = script("replicas")
    asked = replicas.command
    failures = iter([True, True])

    def command(path, text):
        if next(failures, False):
            raise replicas.NoAnswer(f"{path}: expected HAProxy's socket, found TimeoutError: timed out")
        return asked(path, text)

    monkeypatch.setattr(replicas, "command", command)
    assert replicas.wait(haproxy, "one", replicas.up, 10.0)
    assert next(failures, None) is None


def test_the_socket_is_the_one_that_haproxy_was_told_to_open_unless_another_is_named(haproxy, monkeypatch, capsys):
    replicas = script("replicas")
    assert replicas.main(["status", "--socket", haproxy]) == 0
    monkeypatch.setenv("UNDERSTUDY_HAPROXY_SOCKET", haproxy)
    assert replicas.main(["status"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert len(set(told)) == 1
    assert len(told) == 2
    assert replicas.main(["status", "--socket", f"{haproxy}-of-another"]) == 2


def test_a_wait_for_an_haproxy_that_never_answers_says_so(tmp_path):
    replicas = script("replicas")
    with pytest.raises(replicas.NoAnswer, match="expected HAProxy's socket"):
        replicas.wait(str(tmp_path / "nobody"), "one", replicas.up, 0.3)
