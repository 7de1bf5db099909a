"""Twins for a GPU, made and held to the gates here on the CPU: it computes what they are, only slower."""

import numpy as np
import onnx
import pytest

from conversion.profiles import ON_CPU
from conversion.proof.accuracy import Labelled, Scorer
from conversion.proof.parity import Twin
from conversion.proof.subject import Subject
from conversion.search.candidates import Candidate, Trial
from conversion.search.fewer_bits import Workbench, ten_bits
from conversion.search.gates import Gates
from conversion.search.half import to_half
from conversion.spec import SearchSpec

from ..classifier import batch, classifier


class Here(Subject):
    """A subject whose twins run on this CPU, whatever its spec says."""

    def profile(self, precision, operators):
        return ON_CPU


@pytest.fixture
def tried(subject, tmp_path):
    """What becomes of the twins of a graph; gives the trials that hold and all that were made."""

    def make(graph, precisions=("fp32", "tf32", "fp16"), in_time=lambda: True):
        made = subject(graph, search=SearchSpec(profile="gpu", precisions=precisions))
        made = Here(**vars(made))
        data = batch(200, 9)
        scorer = Scorer(made.spec, Labelled(data, made.run(data)["scores"].argmax(axis=1)), made.run)
        gates = Gates(made, made.cases(), scorer, tmp_path / "candidates")
        best = gates.admit(Trial(Candidate("dynamo")), graph)
        trials = [best]
        bench = Workbench(made, gates, tmp_path, lambda _: None, lambda trial, best: 1.5, in_time)
        return ten_bits(bench, trials, best), trials

    return make


def test_half_precision_is_inside_alone(tmp_path):
    onnx.save(classifier(), tmp_path / "float.onnx")
    half = to_half(tmp_path / "float.onnx")
    assert {tensor.data_type for tensor in half.graph.initializer} == {onnx.TensorProto.FLOAT16}
    x = batch(5, 1)
    wanted, found = Twin(classifier(), 1).run(x)["scores"], Twin(half, 1).run(x)["scores"]
    assert found.dtype == np.float32
    assert 0 < np.abs(found - wanted).max() < 0.01 * np.abs(wanted).max()


def test_both_are_held_to_the_tolerance_of_ten_bits(tried):
    held, trials = tried(classifier())
    assert [trial.candidate.precision for trial in trials] == ["fp32", "tf32", "fp16"]
    assert [trial.candidate.precision for trial in held] == ["tf32", "fp16"]
    exact, half = (trial.parity.worst for trial in held)
    assert exact < half < 1


def test_weights_beyond_half_precision_do_not_hold(tried):
    graph = classifier()
    for tensor in graph.graph.initializer:
        if tensor.name == "w1":
            wild = onnx.numpy_helper.to_array(tensor) * np.float32(1e6)
            tensor.CopyFrom(onnx.numpy_helper.from_array(wild, "w1"))
    held, trials = tried(graph)
    assert [trial.candidate.precision for trial in held] == ["tf32"]
    assert trials[-1].fate == "parity"


def test_only_what_the_spec_names_is_tried(tried):
    assert [trial.candidate.precision for trial in tried(classifier(), ("fp32", "fp16"))[1]] == ["fp32", "fp16"]


def test_out_of_time_nothing_new_is_tried(tried):
    assert [trial.candidate.precision for trial in tried(classifier(), in_time=lambda: False)[1]] == ["fp32"]
