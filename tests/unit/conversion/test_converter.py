"""`ONNXConverter` without its worker: what it asks for. The four verbs are in tests/live/test_converter.py."""

import pytest

from conversion import ConversionError, ONNXConverter, converter, worker
from conversion.errors import WorkerDied


class Asked(Exception):
    """Raised by the worker that is none, with the task."""


@pytest.fixture
def task_of(monkeypatch):
    """Gives the task of a conversion."""

    def ask(task, *_rest):
        raise Asked(task)

    def convert(path, **more):
        with pytest.raises(Asked) as found:
            ONNXConverter().convert_tensorflow_model(path, path.parent / "out" / "twin.onnx", **more)
        return found.value.args[0]

    monkeypatch.setattr(converter, "run_worker", ask)
    return convert


def test_a_model_behind_a_link_is_read_by_the_links_name(task_of, tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "0badc0de").write_text("weights")
    (tmp_path / "net.keras").symlink_to("blobs/0badc0de")
    spec = task_of(tmp_path / "net.keras").spec
    assert (spec.name, spec.source.format) == ("net", "keras")
    assert (spec.folder / spec.source.path).read_text() == "weights"


def test_the_log_of_a_process_that_died_lies_beside_the_output_that_is_not_there(monkeypatch, tmp_path):
    (tmp_path / "net.keras").write_text("no model")
    monkeypatch.setattr(worker.sys, "executable", "/bin/false")
    (tmp_path / "twin.onnx.log").write_text("mine")
    with pytest.raises(
        WorkerDied, match=rf"net ended with 1; its output is in {tmp_path}/twin\.onnx-\w+\.log$"
    ) as found:
        ONNXConverter().convert_tensorflow_model(tmp_path / "net.keras", tmp_path / "twin.onnx")
    (log,) = tmp_path.glob("twin.onnx-*.log")
    assert str(found.value).endswith(str(log))
    assert (tmp_path / "twin.onnx.log").read_text() == "mine"
    assert not (tmp_path / "twin.onnx").exists()


@pytest.mark.parametrize("error", [ConversionError("the model is refused"), KeyboardInterrupt()])
def test_no_log_is_left_of_a_conversion_that_ended_otherwise(monkeypatch, tmp_path, error):
    def refuse(_task, _work, log, _report):
        log.write_text("pages of it")
        raise error

    monkeypatch.setattr(converter, "run_worker", refuse)
    with pytest.raises(type(error)):
        ONNXConverter().convert_tensorflow_model(tmp_path / "net.keras", tmp_path / "twin.onnx")
    assert list(tmp_path.iterdir()) == []
