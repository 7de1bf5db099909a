"""The tools image, what Kubernetes starts in it, and the page that tells of all that."""

import ast
import errno
import io
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from prometheus_client import CollectorRegistry
from tritonclient.grpc import service_pb2, service_pb2_grpc

from conversion.errors import PublishError
from deploy.tools import every_pod, watch
from serving.connection import CONTROL_HEADER
from serving.control import ModelControl
from serving.errors import KeyRefused, RepositoryUnreadable, ServerUnreachable
from serving.watch.telling import Telling
from tests.contract.kubernetes import (
    CUSTOM,
    FOLDERS,
    ROOT,
    VERSIONS,
    container,
    containers,
    environment,
    of_kind,
    pod,
    pods,
    rules_of,
)
from tests.contract.test_deploy import hadolint, requirements, services

TOOLS = ROOT / "deploy" / "tools"
PAGE = ROOT / "docs" / "kubernetes.md"


def dockerfile(word):
    joined = (TOOLS / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.removeprefix(word).strip() for line in joined.splitlines() if line.startswith(f"{word} ")]


def test_the_linter_finds_nothing_in_the_tools_dockerfile():
    result = hadolint(TOOLS / "Dockerfile")
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_the_tools_image_copies_is_there_and_reaches_the_engine():
    ignored = (TOOLS / "Dockerfile.dockerignore").read_text().splitlines()
    kept = [line[1:] for line in ignored if line.startswith("!")]
    copied = [source for line in dockerfile("COPY") for source in line.split()[:-1]]
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(source == one or source.startswith(f"{one}/") for one in kept), source
    assert all(any(source == one or source.startswith(f"{one}/") for source in copied) for one in kept)


def test_the_tools_image_installs_what_the_project_asks_for_in_pinned_versions():
    project = (ROOT / "pyproject.toml").read_text()
    asked = re.search(r"^dependencies = (\[.*\])$", project, re.MULTILINE)[1]
    convert = re.search(r"^convert = (\[.*?\])$", project, re.MULTILINE | re.DOTALL)[1]
    # Of the extra `load` Locust alone: the rest is for rivals, which are measured where they run.
    lists = [asked, convert, '["locust"]']
    names = {re.split(r"[><=]", one)[0] for each in lists for one in ast.literal_eval(each)}
    listed = requirements(TOOLS / "requirements.txt")
    assert listed.keys() == {re.sub(r"[-_.]+", "-", name).lower() for name in names}
    assert set(listed.values()) == {""}
    pinned = requirements(ROOT / "requirements" / "pinned.txt")
    assert all(pinned.get(name.split("[")[0]) for name in listed)
    assert dockerfile("RUN") == ["pip install --no-cache-dir --constraint pinned.txt --requirement requirements.txt"]


# What runs in the tools image.


class Restricted(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Triton's control API behind a key, as serve.sh sets it up; it keeps what was loaded."""

    def __init__(self):
        self.loaded = []

    def _guard(self, context):
        if dict(context.invocation_metadata()).get("triton-grpc-protocol-understudy-control") != "the key":
            context.abort(grpc.StatusCode.UNAVAILABLE, "This protocol is restricted")

    def ServerLive(self, request, context):  # noqa: N802 - gRPC looks it up by this name
        return service_pb2.ServerLiveResponse(live=True)

    def RepositoryIndex(self, request, context):  # noqa: N802 - gRPC looks it up by this name
        self._guard(context)
        names = [f"net{suffix}" for suffix in ("", "_onnx", "_original")]
        models = [
            service_pb2.RepositoryIndexResponse.ModelIndex(name=name, version="1", state="UNAVAILABLE")
            for name in names
        ]
        return service_pb2.RepositoryIndexResponse(models=models)

    def RepositoryModelLoad(self, request, context):  # noqa: N802 - gRPC looks it up by this name
        self._guard(context)
        self.loaded.append(request.model_name)
        return service_pb2.RepositoryModelLoadResponse()


@pytest.fixture
def restricted():
    server = grpc.server(ThreadPoolExecutor(4))
    service = Restricted()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(service, server)
    service.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield service
    server.stop(None).wait()


def test_the_header_is_the_one_that_serve_sh_asks_for():
    [guard] = re.findall(
        r'^guarded="[a-z,-]+:(.+?)=\$\{key\}"$', (ROOT / "deploy" / "serve.sh").read_text(), re.MULTILINE
    )
    assert f"triton-grpc-protocol-{guard}" == CONTROL_HEADER


def test_the_watch_is_let_in_by_its_key_alone(restricted):
    address = f"127.0.0.1:{restricted.port}"
    with ModelControl(address, key="the key") as control:
        assert watch.silence(control) == ""
        assert {one.name for one in control.index()} == {"net", "net_onnx", "net_original"}
    with ModelControl(address) as control, pytest.raises(KeyRefused, match="set UNDERSTUDY_CONTROL_KEY"):
        control.index()


@pytest.mark.parametrize(
    "refusal", [KeyRefused("pod:8001", "UNDERSTUDY_CONTROL_KEY"), RepositoryUnreadable("pod:8001", "models/.#config")]
)
def test_a_server_that_refuses_the_watch_is_there_and_the_watch_says_so(monkeypatch, refusal):
    """Else it would wait without a word and without metrics, as if Triton were still starting."""

    def index(_):
        raise refusal

    monkeypatch.setattr(ModelControl, "index", index)
    registry, lines, stop = CollectorRegistry(), [], threading.Event()
    # The machine may run one of its own.
    monkeypatch.setattr(watch, "server_pid", lambda: None)
    with ModelControl("127.0.0.1:1") as control:
        watch.await_server(control, lines.append, stop)
        assert lines == []
        telling = Telling(lines.append, registry)
        watching = threading.Thread(target=watch.look_after, args=(control, telling, None, stop))
        watching.start()
        end = time.monotonic() + 10
        while not lines and time.monotonic() < end:
            time.sleep(0.02)
        stop.set()
        watching.join()
    assert str(refusal) in lines[0]
    assert registry.get_sample_value("understudy_watch_server_up") == 0


def test_the_watch_says_once_for_each_reason_why_it_waits(monkeypatch):
    reasons = ["not yet", "not yet", "name unknown", "not yet", None]

    def index(_):
        reason = reasons.pop(0)
        if reason:
            raise ServerUnreachable("pod:8001", reason)
        return []

    monkeypatch.setattr(ModelControl, "index", index)
    monkeypatch.setattr(watch, "_PAUSE_S", 0.0)
    lines = []
    with ModelControl("127.0.0.1:1") as control:
        watch.await_server(control, lines.append, threading.Event())
    assert reasons == []
    assert [re.search("not yet|name unknown", line)[0] for line in lines] == ["not yet", "name unknown", "not yet"]
    assert all(line.startswith("waits for the server: no Triton answers at pod:8001") for line in lines)


class Gone(io.StringIO):
    """A pipe whose reader has ended."""

    def write(self, _):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_the_watch_is_not_ended_by_a_message_that_cannot_be_written(monkeypatch):
    def told(control, tell, stop):
        tell("not yet")
        stop.set()

    monkeypatch.setattr(watch, "await_server", told)
    monkeypatch.setattr(watch.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "stderr", Gone())
    assert watch.main(["--grpc-url=127.0.0.1:1"]) == 0


def test_every_pod_loads_the_hybrid_between_its_twins(restricted, monkeypatch, capsys):
    monkeypatch.setenv("UNDERSTUDY_CONTROL_KEY", "the key")
    arguments = ["load", "net", "--service", "127.0.0.1", "--port", str(restricted.port)]
    assert every_pod.main(arguments) == 0
    assert restricted.loaded == ["net_onnx", "net", "net_original"]
    assert capsys.readouterr().out == f"127.0.0.1:{restricted.port}\tnet\tloaded\n"
    monkeypatch.setenv("UNDERSTUDY_CONTROL_KEY", "another")
    assert every_pod.main(arguments) == 1
    assert "behind a key" in capsys.readouterr().err
    assert every_pod.main(["load", "net", "--service", "no-such-host.invalid"]) == 2


def test_pods_are_found_by_either_family():
    """In a cluster of IPv6 alone a headless service has no other addresses."""
    assert every_pod.pods("::1", 8001) == ["[::1]:8001"]
    assert every_pod.pods("127.0.0.1", 8001) == ["127.0.0.1:8001"]


def test_a_model_without_golden_samples_cannot_be_verified(tmp_path):
    with pytest.raises(PublishError, match="no golden samples of 'net'"):
        every_pod.verify("127.0.0.1:1", "net", tmp_path)


def test_the_oldest_tritonserver_is_the_server(tmp_path):
    for pid, comm in (("7", "tritonserver"), ("5", "sleep"), ("11", "tritonserver")):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "comm").write_text(f"{comm}\n")
    assert watch.server_pid(tmp_path) == 7
    assert watch.server_pid(tmp_path / "5") is None


def known(script):
    """The options of a program of ours or of Locust's."""
    command = (
        [sys.executable, "-m", "locust", "--help"] if script == "locust" else [sys.executable, TOOLS / script, "--help"]
    )
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'client'}", "PATH": "/usr/bin:/bin"},
    )
    return set(re.findall(r"--[a-z-]+", done.stdout))


def test_whatever_is_started_in_the_tools_image_is_there_and_knows_its_arguments():
    started = []
    for name in FOLDERS:
        for _, spec in pods(name):
            started += [one for one in spec["containers"] if one["image"].startswith("understudy-tools:")]
    assert {one["name"] for one in started} == {"watch", "load", "publisher", "master", "worker"}
    started += [
        {"name": name.removeprefix("locust-"), "args": one["command"]}
        for name, one in services().items()
        if one["image"].startswith("understudy-tools:")
    ]
    locustfile = (ROOT / "loadtests" / "locustfile.py").read_text()
    for one in started:
        arguments = one.get("args", [])
        given = {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}
        if one["name"] in {"master", "worker"}:
            assert arguments[:2] == ["-m", "locust"]
            own = set(re.findall(r'"(--[a-z-]+)"', locustfile))
            assert given <= known("locust") | own
            assert "--locustfile=loadtests/locustfile.py" in arguments
            assert '"HybridGrpc"' in locustfile
        elif arguments:
            assert arguments[0].startswith("deploy/tools/")
            assert given <= known(Path(arguments[0]).name)


def test_the_watch_tells_where_prometheus_is_sent():
    default = dict(re.findall(r'"--(metrics-\w+)".*?default="?([\d.]+)', (TOOLS / "watch.py").read_text()))
    assert default == {"metrics-address": "0.0.0.0", "metrics-port": "8003"}


def test_locust_finds_its_master_and_asks_what_is_served():
    [service] = of_kind("Service", "loadtest")
    jobs = {one["metadata"]["name"]: one for one in of_kind("Job", "loadtest")}
    labels, spec = pod(jobs["understudy-locust-master"])
    assert service["spec"]["selector"].items() <= labels.items()
    [port] = container(spec, "master")["ports"]
    assert service["spec"]["ports"][0]["port"] == port["containerPort"] == 5557
    assert service["spec"]["publishNotReadyAddresses"] is True
    worker_labels, worker = pod(jobs["understudy-locust-worker"])
    arguments = container(worker, "worker")["args"]
    assert f"--master-host={service['metadata']['name']}" in arguments
    assert "--host=understudy-headless:8001" in arguments
    assert worker_labels["understudy-access"] == "caller"
    workers = jobs["understudy-locust-worker"]["spec"]["parallelism"]
    assert f"--expect-workers={workers}" in container(spec, "master")["args"]
    [ingress] = rules_of("loadtest", "understudy-locust-master")["ingress"]
    assert ingress["from"][0]["podSelector"]["matchLabels"].items() <= worker_labels.items()
    assert rules_of("loadtest", "understudy-locust-master")["podSelector"]["matchLabels"].items() <= labels.items()


# The page.


def test_every_folder_and_secret_is_in_the_docs():
    text = PAGE.read_text()
    for name in (
        *FOLDERS,
        "components/monitoring",
        "components/autoscaling-keda",
        "components/object-storage",
        "probes",
    ):
        assert f"`{name}`" in text or f"deploy/kubernetes/{name}" in text, name
    secrets = {
        (value["secretKeyRef"]["name"], value["secretKeyRef"]["key"])
        for name in FOLDERS
        for _, spec in pods(name)
        for one in containers(spec)
        for value in environment(one).values()
        if isinstance(value, dict) and "secretKeyRef" in value
    }
    assert secrets == {
        ("understudy-control", "key"),
        ("understudy-object-storage", "access-key-id"),
        ("understudy-object-storage", "secret-access-key"),
    }
    for name, key in secrets:
        assert f"create secret generic {name}" in text
        assert f"--from-literal={key}=" in text


def test_what_the_docs_apply_is_there():
    named = re.findall(r"-[kf] (deploy/[\w/-]+)", PAGE.read_text())
    assert len(named) >= 5
    for folder in named:
        assert (ROOT / folder).exists(), folder
    for link in re.findall(r"\]\(([\w./-]+\.md)(?:#[\w-]+)?\)", PAGE.read_text()):
        assert (PAGE.parent / link).is_file(), link


def test_the_docs_name_what_is_checked_by_schema_and_what_is_not():
    text = PAGE.read_text()
    for _, kind in CUSTOM:
        assert kind in text
    for version in VERSIONS:
        assert version in text
