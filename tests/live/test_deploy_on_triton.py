"""The container's start script and health check on a real Triton: the embedded one stands in for the image's."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest
import trustme
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from conversion.commands.live_server import TritonOverGrpc
from conversion.errors import PublishError
from serving.command import server_environment
from serving.layout import lay_out_backends
from serving.locate import find_installation, find_python
from serving.ports import LOOPBACK, choose

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MODELS = Path(__file__).parent / "deploy_models"
KEY = "a secret: with = and , in it"
# Flags that docs/production.md offers and the embedded release does not have yet: the first release that has them.
NEWER = {"--http-max-input-size": "25.06", "--allow-client-shm": "26.05"}


def embedded() -> tuple[Path, dict[str, str]]:
    """The embedded tritonserver, and an environment in which it is found and runs as in the image."""
    installation, python = find_installation(os.environ), find_python()
    environment = server_environment(os.environ, installation, python, cores=1)
    environment["PATH"] = f"{installation.binary.parent}:{environment['PATH']}"
    return installation.binary, environment


@dataclass(frozen=True)
class Container:
    """A server that serve.sh started."""

    process: subprocess.Popen[bytes]
    ports: dict[str, int]
    log: Path

    def http(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
        connection = HTTPConnection(LOOPBACK, self.ports["http"], timeout=20)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def health(self, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {"UNDERSTUDY_HTTP": f"{LOOPBACK}:{self.ports['http']}", "UNDERSTUDY_CONTROL_KEY": KEY, **environment}
        command = [sys.executable, str(DEPLOY / "healthcheck.py")]
        return subprocess.run(command, check=False, env=given, capture_output=True, text=True, timeout=60)

    def stub(self, model: str) -> int:
        """The process id of the Python model's stub."""
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                words = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
                status = (directory / "status").read_text()
            except OSError:
                continue
            if f"PPid:\t{self.process.pid}\n" in status and any(
                word.endswith(f"/{model}/1/model.py") for word in words
            ):
                return int(directory.name)
        raise AssertionError(f"no stub of {model}")


def start(directory: Path, *more: str, **settings: str) -> Container:
    """Run serve.sh, with `more` arguments for tritonserver and settings in its environment, until it is ready."""
    installation, python = find_installation(os.environ), find_python()
    _, environment = embedded()
    shutil.copytree(MODELS, directory / "models")
    (directory / "models" / "README.md").write_text("A repository has one, and Triton must not mind.")
    environment |= {"UNDERSTUDY_CONTROL_KEY": KEY, "UNDERSTUDY_MODELS": str(directory / "models")} | settings
    ports = choose({"http": None, "grpc": None, "metrics": None})
    arguments = [f"--{name}-port={port}" for name, port in ports.items()]
    # The script itself binds HTTP where gRPC is over TLS.
    arguments += [f"--{name}-address={LOOPBACK}" for name in ports if name != "http" or not settings]
    arguments += [f"--backend-directory={lay_out_backends(installation, python, directory)}"]
    log = directory / "triton.log"
    with log.open("wb") as stream:
        command = [str(DEPLOY / "serve.sh"), *arguments, *more]
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    container = Container(process, ports, log)
    deadline = time.monotonic() + 60
    while True:
        try:
            if container.http("GET", "/v2/health/ready")[0] == 200:
                return container
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(log.read_text(errors="replace")[-4000:])
        time.sleep(0.1)


def request(word: str) -> bytes:
    """A request of one row of zeros and a word."""
    x = {"name": "x", "shape": [1, 1, 3], "datatype": "FP32", "data": [0, 0, 0]}
    return json.dumps({"inputs": [x, {"name": "word", "shape": [1, 1], "datatype": "BYTES", "data": [word]}]}).encode()


def stop(container: Container) -> int:
    container.process.send_signal(signal.SIGTERM)
    try:
        return container.process.wait(45)
    finally:
        container.process.kill()
        container.process.wait()


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    started = start(tmp_path_factory.mktemp("container"))
    yield started
    stop(started)


def told(command: str, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What `python -m serving COMMAND` says."""
    words = [sys.executable, "-m", "serving", command, *more]
    given = {**os.environ, **environment}
    return subprocess.run(words, check=False, cwd=ROOT, env=given, capture_output=True, text=True, timeout=60)


def test_every_flag_is_one_that_triton_knows() -> None:
    binary, environment = embedded()
    command = [binary, "--help"]
    printed = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)
    known = set(re.findall(r"^  (--[a-z0-9-]+)", printed.stdout + printed.stderr, re.MULTILINE))
    script = (DEPLOY / "serve.sh").read_text()
    used = set(re.findall(r"(?:^ +| )(--[a-z-]+)=", script, re.MULTILINE))
    offered = set(re.findall(r"`(--[a-z-]+)[=`]", (ROOT / "docs" / "production.md").read_text()))
    assert used
    assert used <= known
    assert offered - known <= NEWER.keys()
    assert not NEWER.keys() & known, "the embedded release has these by now: take them out of the table"


def test_every_model_that_loads_is_served_and_one_that_does_not_stops_nothing(container: Container) -> None:
    status, text = container.http("POST", "/v2/repository/index", understudy_control=KEY)
    assert status == 200
    states = {entry["name"]: (entry["state"], entry.get("reason", "")) for entry in json.loads(text)}
    assert states["public"] == states["plain"] == ("READY", "")
    assert states["broken"][0] == "UNAVAILABLE"
    assert "this model cannot be loaded" in states["broken"][1]


@pytest.mark.parametrize(
    "path",
    [
        "/v2/repository/index",
        "/v2/repository/models/plain/load",
        "/v2/repository/models/plain/unload",
        "/v2/systemsharedmemory/unregister",
        "/v2/trace/setting",
        "/v2/logging",
    ],
)
def test_who_has_no_key_cannot_change_the_server_over_http(container: Container, path: str) -> None:
    for headers in ({}, {"understudy_control": "a wrong key"}):
        status, text = container.http("POST", path, b"{}", **headers)
        assert status == 403
        assert "restricted" in text
    assert container.http("GET", "/v2/models/plain/ready")[0] == 200


def test_who_has_no_key_cannot_change_the_server_over_grpc(container: Container) -> None:
    with InferenceServerClient(f"{LOOPBACK}:{container.ports['grpc']}") as client:
        with pytest.raises(InferenceServerException, match="restricted"):
            client.unload_model("plain", client_timeout=20)
        assert client.is_model_ready("plain", client_timeout=20)


def test_who_has_the_key_unloads_and_loads(container: Container) -> None:
    with InferenceServerClient(f"{LOOPBACK}:{container.ports['grpc']}") as client:
        header = {"triton-grpc-protocol-understudy-control": KEY}
        client.unload_model("plain", headers=header, client_timeout=20)
        client.load_model("plain", headers=header, client_timeout=60)
        assert client.is_model_ready("plain", client_timeout=20)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_the_client_has_the_key_of_the_environment_as_the_how_to_says(container: Container, protocol: str) -> None:
    page = (ROOT / "docs" / "production.md").read_text()
    assert "\npython -m serving switch NAME --grpc-url 127.0.0.1:8001\n" in page
    assert "`understudy-client load NAME_onnx NAME NAME_original`" in page
    url = f"{LOOPBACK}:{container.ports[protocol]}"
    words = [sys.executable, "-m", "understudy_client"]
    where = ["--url", url, "--protocol", protocol]

    def asked(*command: str, key: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "UNDERSTUDY_CONTROL_KEY": key}
        given = [*words, *command, *where]
        return subprocess.run(given, check=False, env=environment, capture_output=True, text=True, timeout=60)

    for command in (("load", "plain", "public"), ("models",), ("stats",)):
        done = asked(*command, key=KEY)
        assert done.returncode == 0, done.stderr
        refused = asked(*command, key="")
        assert refused.returncode != 0
        assert "restricted" in refused.stderr
    switched = told(
        "switch", "public", "--grpc-url", f"{LOOPBACK}:{container.ports['grpc']}", UNDERSTUDY_CONTROL_KEY=KEY
    )
    assert switched.returncode == 0, switched.stderr


def test_the_command_line_of_serving_has_the_key_and_says_so_where_it_has_not(container: Container) -> None:
    server = ("--grpc-url", f"{LOOPBACK}:{container.ports['grpc']}")
    for key in ("", "a wrong key"):
        refused = told("status", *server, UNDERSTUDY_CONTROL_KEY=key)
        assert refused.returncode == 8
        assert refused.stderr.count("\n") == 1
        assert "behind a key, and was given none or another one; set UNDERSTUDY_CONTROL_KEY" in refused.stderr
    for command in (("unload", "plain"), ("load", "plain"), ("status",)):
        done = told(*command, *server, UNDERSTUDY_CONTROL_KEY=KEY)
        assert done.returncode == 0, done.stderr
    assert "plain\t1\tREADY" in done.stdout


def test_a_release_is_published_to_it_with_the_key(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    server = TritonOverGrpc(f"{LOOPBACK}:{container.ports['grpc']}")
    with pytest.raises(PublishError, match="behind a key"):
        server.load("plain")
    monkeypatch.setenv("UNDERSTUDY_CONTROL_KEY", KEY)
    server.load("plain")
    assert server.versions("plain") == [1]


def test_over_tls_grpc_alone_is_open_and_only_to_who_trusts_its_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    own, ca = authority.issue_cert(LOOPBACK), tmp_path / "ca.crt"
    own.private_key_pem.write_to_path(tmp_path / "server.key")
    own.cert_chain_pems[0].write_to_path(tmp_path / "server.crt")
    authority.cert_pem.write_to_path(ca)
    container = start(tmp_path, UNDERSTUDY_TLS=str(tmp_path))
    server = ("--grpc-url", f"{LOOPBACK}:{container.ports['grpc']}")
    try:
        done = told("status", *server, UNDERSTUDY_CONTROL_KEY=KEY, UNDERSTUDY_CA=str(ca))
        assert done.returncode == 0, done.stderr
        assert "public\t1\tREADY" in done.stdout
        # In the clear, and with another authority's certificate.
        trustme.CA().cert_pem.write_to_path(tmp_path / "other.crt")
        for other in ("", str(tmp_path / "other.crt")):
            assert told("status", *server, UNDERSTUDY_CONTROL_KEY=KEY, UNDERSTUDY_CA=other).returncode == 7
        absent = told("status", *server, UNDERSTUDY_CA=str(tmp_path / "none.crt"))
        assert absent.returncode == 2
        assert "UNDERSTUDY_CA" in absent.stderr
        asked = [sys.executable, "-m", "understudy_client", "models", "--url", server[1], "--ssl"]
        asked += ["--root-certificates", str(ca), "--header", f"triton-grpc-protocol-understudy-control={KEY}"]
        listed = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=60)
        assert listed.returncode == 0, listed.stderr
        assert container.health().returncode == 0
    finally:
        stop(container)


@pytest.mark.parametrize("path", ["/v2", "/v2/models/public", "/v2/models/public/config", "/v2/models/public/stats"])
def test_what_a_caller_needs_to_know_is_open(container: Container, path: str) -> None:
    assert container.http("GET", path)[0] == 200


def test_healthy_means_that_the_hybrids_answer_and_twins_are_not_asked(container: Container) -> None:
    result = container.health()
    assert (result.returncode, result.stdout) == (0, "answered: public\n"), result.stderr


def test_the_health_check_sends_zeros_of_the_smallest_shape(container: Container) -> None:
    specification = importlib.util.spec_from_file_location("healthcheck", DEPLOY / "healthcheck.py")
    assert specification is not None
    assert specification.loader is not None
    healthcheck = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(healthcheck)
    config = json.loads(container.http("GET", "/v2/models/public/config")[1])
    body, header_bytes = healthcheck.zeros(config)
    body = body.replace(b'"binary_data_output": true', b'"binary_data_output":false')
    status, text = container.http(
        "POST", "/v2/models/public/infer", body, Inference_Header_Content_Length=str(header_bytes)
    )
    assert status == 200, text
    assert json.loads(text)["outputs"][0]["data"] == ["x[1, 1, 3] sum 0, word[1, 1] b''"]


def test_a_health_check_without_the_key_says_what_is_wrong(container: Container) -> None:
    result = container.health(UNDERSTUDY_CONTROL_KEY="")
    assert result.returncode == 1
    assert "/v2/repository/index: expected an answer, found status 403" in result.stderr


def test_no_server_is_not_healthy() -> None:
    ports = choose({"http": None})
    environment = {"UNDERSTUDY_HTTP": f"{LOOPBACK}:{ports['http']}"}
    command = [sys.executable, str(DEPLOY / "healthcheck.py")]
    result = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "/v2/health/ready: expected an answer, found ConnectionRefusedError" in result.stderr


def test_a_dead_hybrid_is_not_healthy_unless_it_is_skipped(tmp_path: Path) -> None:
    # A dead stub never unloads: the server would wait for the whole of its drain.
    container = start(tmp_path, "--exit-timeout-secs=1")
    try:
        os.kill(container.stub("public"), signal.SIGKILL)
        result = container.health()
        assert result.returncode == 1
        assert "/v2/models/public/versions/1/infer: expected an answer, found" in result.stderr
        skipped = container.health(UNDERSTUDY_HEALTH_SKIP="other,public")
        assert (skipped.returncode, skipped.stdout) == (0, "answered: no hybrid is served yet\n")
    finally:
        stop(container)


def test_sigterm_lets_the_request_in_flight_finish(tmp_path: Path) -> None:
    container = start(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(container.http, "POST", "/v2/models/public/infer", request(word="2 seconds"))
        deadline = time.monotonic() + 20
        while not (tmp_path / "models" / "public" / "1" / "asked").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert stop(container) == 0
        status, text = answer.result()
    assert status == 200, text
    assert "2 seconds" in text
