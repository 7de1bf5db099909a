"""What ends the demo early is one sentence and exit code 1, as far as it needs no server."""

import importlib.util
import subprocess
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from understudy_client import DeadlineExceeded, ServerUnavailable

from conversion.errors import PublishError
from python_backend.original.errors import FactoryFailed
from serving import TritonServer, errors

DEMO = Path(__file__).parents[3] / "demo" / "__main__.py"
NAME = "efficientnet_lite0"


@pytest.fixture
def demo(monkeypatch, tmp_path):
    """The demo, by a name that no model's own demo.py has; all is converted, and the server is up at once."""
    spec = importlib.util.spec_from_file_location("the_demo", DEMO)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    at = SimpleNamespace(grpc_url="127.0.0.1:1", http_url="127.0.0.1:2", metrics_url="127.0.0.1:3")
    converted = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(module, "subprocess", SimpleNamespace(run=lambda *_, **__: converted))
    monkeypatch.setattr(module, "MODELS", DEMO.parents[1] / "models")
    monkeypatch.setattr(module, "REPOSITORY", tmp_path / "repository")
    monkeypatch.setattr(module, "tell_release", lambda name: None)
    monkeypatch.setattr(module, "ModelControl", nullcontext)
    monkeypatch.setattr(module, "TritonServer", lambda *_, **__: nullcontext(at))
    module.converted = converted
    return module


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("tell_release", PublishError("evidence.json is missing or broken; publish the model again")),
        ("TritonServer", errors.TritonNotFound(["PATH"])),
        ("TritonServer", errors.PortTaken("grpc", 8001)),
        ("TritonServer", errors.LoadFailed(f"{NAME}_onnx", "not enough memory")),
        ("ModelControl", errors.UsageError("no certificates")),
        ("ask_twin", FactoryFailed("demo.py:inputs", "cannot be imported: ModuleNotFoundError: No module named 'PIL'")),
        ("ask_twin", ServerUnavailable(f"inference on '{NAME}' at 127.0.0.1:1 (grpc)", "connection refused")),
        ("ask_twin", DeadlineExceeded(f"inference on '{NAME}' at 127.0.0.1:1 (grpc)", "", 60.0)),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_fails_on_the_way_is_one_sentence(demo, monkeypatch, capsys, step, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(demo, step, fail)
    assert demo.main([NAME]) == 1
    assert capsys.readouterr().err == f"error: {error}\n"


def test_a_machine_without_triton_is_told_what_to_do(demo, monkeypatch, capsys, tmp_path):
    for name in (f"{NAME}_onnx", f"{NAME}_original", NAME):
        (demo.REPOSITORY / name / "1").mkdir(parents=True)
        (demo.REPOSITORY / name / "config.pbtxt").write_text(f'name: "{name}"\nbackend: "python"\n')
    monkeypatch.setattr(demo, "TritonServer", TritonServer)
    monkeypatch.setattr(demo, "LOG", tmp_path / "log")
    monkeypatch.setenv("UNDERSTUDY_TRITON", str(tmp_path / "absent"))
    assert demo.main([NAME]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: no tritonserver in {tmp_path}/absent (UNDERSTUDY_TRITON); run `make setup`")


def test_a_conversion_that_fails_has_said_why_itself(demo, capsys):
    demo.converted.returncode = 4
    assert demo.main([NAME]) == 1
    assert capsys.readouterr().err == ""
