"""Golden samples in the shapes that a running Triton takes and gives, and whom the hybrid asks for them."""

import json

import numpy as np
import pytest

from conversion.errors import PublishError, ReleaseRefused
from conversion.interface import Facts
from conversion.proof.parity import Case
from conversion.publishing.live_replay import golden_of, replay_hybrid
from conversion.release.golden import write_golden
from conversion.release.pbtxt import model_configs, write_config
from conversion.spec import ModelSpec, SourceSpec
from conversion.spec.serving import ServingSpec


@pytest.fixture
def hybrid(tmp_path):
    """Writes a hybrid's folder with these golden samples; gives it."""

    def make(inputs, outputs, max_batch_size=8, prefer="onnx"):
        write_golden(Case(inputs, outputs), tmp_path / "golden.npz")
        (tmp_path / "evidence.json").write_text(json.dumps({"parity": {"atol": 1e-3, "rtol": 0}}))
        serving = ServingSpec(max_batch_size=max_batch_size)
        spec = ModelSpec("net", tmp_path, SourceSpec("keras", "net.keras"), serving=serving)
        facts = [
            tuple(
                Facts(name, "string" if array.dtype.kind in "OSU" else array.dtype.name, array.shape)
                for name, array in tensors.items()
            )
            for tensors in (inputs, outputs)
        ]
        config = model_configs(spec, *facts)["hybrid"]
        config.parameters["prefer"].string_value = prefer
        write_config(config, tmp_path / "config.pbtxt")
        return tmp_path

    return make


def rows(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize(
    ("shape", "max_batch_size", "sent"),
    [((3, 4), 8, (3, 4)), ((3,), 8, (3, 1)), ((), 0, (1,)), ((3, 4), 0, (3, 4))],
    ids=["rows", "a scalar in each row", "a scalar", "no rows"],
)
def test_a_tensor_without_dimensions_is_sent_and_read_as_it_is_announced(hybrid, shape, max_batch_size, sent):
    golden = golden_of(hybrid({"x": rows(*shape)}, {"y": rows(*shape)}, max_batch_size))
    assert golden.inputs()["x"].shape == sent
    assert golden.failures({"y": rows(*sent)}) == []
    (failure,) = golden.failures({"y": rows(*sent) + 1})
    assert "differ by more than 0.001" in failure


def test_strings_are_compared_as_bytes(hybrid):
    words = np.array([["a"], ["b"]], object)
    golden = golden_of(hybrid({"x": words}, {"y": words}))
    assert golden.inputs()["x"].tolist() == [[b"a"], [b"b"]]
    assert golden.failures({"y": np.array([[b"a"], [b"b"]], object)}) == []
    assert golden.failures({"y": np.array([[b"a"], [b"c"]], object)}) == ["output 'y' at x[2, 1]: the strings differ"]


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [("onnx", "onnx"), ("original", "original"), ("1:original,3:onnx", "onnx"), ("1:onnx, 4:original", "onnx")],
)
def test_whom_the_hybrid_asks_goes_by_the_rows_of_the_samples(hybrid, prefer, expected):
    assert golden_of(hybrid({"x": rows(3, 4)}, {"y": rows(3, 4)}, prefer=prefer)).asked_first == expected


def test_a_release_of_before_golden_samples_has_none(tmp_path):
    assert golden_of(tmp_path) is None


def test_samples_that_cannot_be_read_stop_the_publish(hybrid):
    folder = hybrid({"x": rows(3, 4)}, {"y": rows(3, 4)})
    (folder / "golden.npz").write_bytes(b"nothing")
    with pytest.raises(PublishError, match="holds no golden samples"):
        golden_of(folder)


class Busy:
    """Answers after a number of refusals, and first by the twin that stands in."""

    address = "127.0.0.1:1"

    def __init__(self, outputs, refusals, fallbacks):
        self.outputs, self.refusals, self.fallbacks = outputs, refusals, fallbacks

    def infer(self, model, version, inputs):
        if self.refusals:
            self.refusals -= 1
            raise ReleaseRefused("Exceeds maximum queue size")
        twin = b"original" if self.fallbacks else b"onnx"
        self.fallbacks = max(self.fallbacks - 1, 0)
        return {**self.outputs, "served_by": np.array([[twin]] * 3, object)}


@pytest.mark.parametrize(("refusals", "fallbacks", "holds"), [(0, 0, True), (2, 0, True), (1, 1, True), (2, 2, False)])
def test_a_busy_server_is_asked_again_but_not_for_ever(hybrid, monkeypatch, refusals, fallbacks, holds):
    monkeypatch.setattr("conversion.publishing.live_replay._PAUSES", (0.0, 0.0, 0.0))
    golden = golden_of(hybrid({"x": rows(3, 4)}, {"y": rows(3, 4)}))
    server = Busy({"y": rows(3, 4)}, refusals, fallbacks)
    if holds:
        assert replay_hybrid(server, "net", 2, golden) == "onnx"
    else:
        with pytest.raises(ReleaseRefused, match="answered by original, not onnx"):
            replay_hybrid(server, "net", 2, golden)
