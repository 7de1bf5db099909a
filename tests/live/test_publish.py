"""Publishing into a running Triton: no request fails, and every answer is of one release or the other."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from conversion.__main__ import main
from conversion.commands.live_server import TritonOverGrpc
from serving.process import group_members

from .release_net import NET, Load, ask, forget

SPEC = """
name = "published"
inputs = [{{ name = "x", dtype = "float32", shape = ["batch", 4] }}]
outputs = [{{ name = "y" }}]
[source]
factory = "net.py:Scale"
arguments = {{ factor = {factor} }}
[serving]
max_batch_size = 8
instances = 1
threads = 1
dynamic_batching = true
[search]
level = "off"
"""


@pytest.fixture
def publish(triton, tmp_path):
    """Publish a net that multiplies by `factor` into the running server, by the command line; gives its exit code."""
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "net.py").write_text(NET)

    def run(factor, *more):
        (folder / "model.toml").write_text(SPEC.format(factor=factor))
        return main(["convert", str(folder), *arguments(triton), "--build", str(tmp_path / "build"), *more])

    yield run
    forget(triton)


def arguments(triton):
    return ["--repository", str(triton.repository), "--server", triton.server.grpc_url]


@pytest.fixture
def processes(triton, monkeypatch):
    """Those of each version, after each load that a publisher asks the server for; a test may begin anew."""
    seen = defaultdict(set)
    load = TritonOverGrpc.load

    def load_and_look(self, model):
        load(self, model)
        for pid in group_members(triton.server.pid):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if version := re.search(rb"/(published\w*/[0-9]+)/model\.", command):
                seen[version[1].decode()].add(pid)

    monkeypatch.setattr(TritonOverGrpc, "load", load_and_look)
    return seen


def assert_loaded_once(processes, *versions):
    """Each of these versions of all three models had one process and no other."""
    models = ("published", "published_onnx", "published_original")
    wanted = [f"{model}/{version}" for model in models for version in versions]
    assert {version: len(processes[version]) for version in wanted} == dict.fromkeys(wanted, 1)
    processes.clear()


def test_a_release_and_its_rollback_go_live_without_a_failed_request(triton, publish, processes, capsys):
    """And what serves is left as it is: nothing is loaded a second time."""
    assert publish(2, "--no-rehearsal") == 0
    assert ask(triton.server.grpc_url) == 2
    assert_loaded_once(processes, 1)
    with Load(triton.server.grpc_url) as load:
        assert publish(3) == 0
        assert ask(triton.server.grpc_url) == 3
        assert_loaded_once(processes, 1, 2)
        assert main(["rollback", "published", *arguments(triton)]) == 0
        assert ask(triton.server.grpc_url) == 2
        # Of release 1 the processes from before may still be ending.
        assert_loaded_once(processes, 2)
    assert load.failures == []
    assert set(load.factors) == {2.0, 3.0}
    assert len(load.factors) > 100
    assert triton.control.ready("published", 1)
    assert not triton.control.ready("published_onnx", 2)


def test_a_release_that_the_server_refuses_leaves_the_old_one_serving(triton, publish, capsys, monkeypatch):
    assert publish(2, "--no-rehearsal") == 0
    code = Path("python_backend/hybrid/model.py").read_text()
    broken = Path(str(triton.repository.parent / "broken"))
    broken.mkdir()
    (broken / "original").symlink_to(Path("python_backend/original").resolve())
    (broken / "hybrid").mkdir()
    (broken / "hybrid" / "model.py").write_text(code.replace("class TritonPythonModel", "class Nothing"))
    monkeypatch.setattr("conversion.pipeline._CODE", broken)
    assert publish(5) == 9
    error = capsys.readouterr().err
    assert "release 2 of published did not go live: in rehearsal, " in error
    assert "release 1 is served as before, and the new one lies in " in error
    assert ask(triton.server.grpc_url) == 2
    assert main(["releases", "published", "--repository", str(triton.repository)]) == 0
    listed = capsys.readouterr().out.partition("published: ")[2].splitlines()
    assert listed[0] == "[1]   ([n] is served)"
    assert "  2 is in quarantine, " in listed[1]
