"""`ONNXConverter` without its worker: what it asks for. The four verbs are in tests/live/test_converter.py."""

import pytest

from conversion import ONNXConverter, converter


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
