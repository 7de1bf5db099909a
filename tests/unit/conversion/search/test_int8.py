import onnx
import pytest

from conversion.proof.accuracy import Labelled, Scorer
from conversion.search.candidates import Candidate, Trial
from conversion.search.gates import Gates
from conversion.search.int8 import Int8Search
from conversion.search.quantise import CALIBRATIONS, Quantiser, multiplying_share, quantise_dynamic

from ..classifier import batch, classifier


def rows(count=8):
    return [batch(1, number) for number in range(count)]


@pytest.fixture
def quantiser(tmp_path):
    onnx.save(classifier(), tmp_path / "float.onnx")
    return Quantiser(tmp_path / "float.onnx", rows(), tmp_path / "q")


def quantised_layers(path):
    """Layers whose weights come out of 8 bits."""
    model = onnx.load(path)
    made_by = {node.output[0]: node.op_type for node in model.graph.node}
    return {n.name for n in model.graph.node if n.op_type in ("Conv", "MatMul") and made_by.get(n.input[1])}


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_all_layers_are_quantised(quantiser, tmp_path, calibration):
    quantiser.quantise(calibration, (), tmp_path / "int8.onnx")
    assert quantised_layers(tmp_path / "int8.onnx") == {"first", "second", "last"} == set(quantiser.layers)


def test_layers_can_be_kept_and_all_but_one_as_well(quantiser, tmp_path):
    quantiser.quantise("minmax", ("second",), tmp_path / "kept.onnx")
    assert quantised_layers(tmp_path / "kept.onnx") == {"first", "last"}
    quantiser.quantise("minmax", (), tmp_path / "one.onnx", only="second")
    assert quantised_layers(tmp_path / "one.onnx") == {"second"}


def test_dynamic_quantisation_is_for_matrices(tmp_path):
    onnx.save(classifier(), tmp_path / "float.onnx")
    quantise_dynamic(tmp_path / "float.onnx", tmp_path / "dynamic.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "dynamic.onnx").graph.node]
    assert "MatMulInteger" in operators
    assert operators.count("Conv") == 2
    assert 0 < multiplying_share(classifier()) < 0.05


@pytest.fixture
def search(subject, tmp_path):
    """A search for the eight-bit twin of a graph, and its float trial."""

    def make(graph):
        made = subject(graph)
        data = batch(200, 9)
        labels = made.run(data)["scores"].argmax(axis=1)
        cases = made.cases()
        gates = Gates(made, cases, Scorer(made.spec, Labelled(data, labels), made.run), tmp_path / "candidates")
        trial = gates.admit(Trial(Candidate("dynamo")), graph)
        return Int8Search(gates, trial, max(cases, key=lambda case: case.rows), tmp_path / "int8")

    return make


def test_one_that_is_not_faster_ends_the_search_before_it_is_proved(search):
    trials = list(search(classifier()).trials(lambda _: 1.01, lambda: True, thorough=True))
    assert [(t.fate, t.parity) for t in trials] == [("slower", None)]
    assert trials[0].reason == "1.01 times as fast as dynamo fp32"


def test_layers_that_cost_accuracy_are_kept_in_float_the_worst_first(search):
    trials = list(search(classifier(wild=True)).trials(lambda _: 2.0, lambda: True, thorough=True))
    assert trials[0].fate in ("accuracy", "parity")
    kept = [len(trial.candidate.kept_fp32) for trial in trials if trial.candidate.kept_fp32]
    assert kept[:1] == [1]
    assert all(trial.fate or trial is trials[-1] for trial in trials)


def test_out_of_time_nothing_new_is_tried(search):
    trials = list(search(classifier(wild=True)).trials(lambda _: 2.0, lambda: False, thorough=True))
    assert len(trials) == 1


@pytest.mark.parametrize("ranked", [0, 2])
def test_out_of_time_no_more_layers_are_ranked(search, monkeypatch, ranked):
    alone, quantise = [], Quantiser.quantise

    def counts(self, calibration, kept, target, only=None):
        alone.extend([only] if only else [])
        quantise(self, calibration, kept, target, only=only)

    monkeypatch.setattr(Quantiser, "quantise", counts)
    trials = []
    # Time is up with the last calibration, or so many layers later.
    made = search(classifier(wild=True)).trials(
        lambda _: 2.0, lambda: len(trials) < len(CALIBRATIONS) or len(alone) < ranked, thorough=True
    )
    for trial in made:
        trials.append(trial)
    assert [trial.candidate.kept_fp32 for trial in trials] == [()] * len(CALIBRATIONS)
    assert len(alone) == ranked


def test_one_that_cannot_be_timed_has_failed_and_ends_the_search(search):
    def fails(trial):
        raise RuntimeError("NOT_IMPLEMENTED: no kernel for it")

    (trial,) = search(classifier()).trials(fails, lambda: True, thorough=True)
    assert (trial.fate, trial.reason) == ("failed", "RuntimeError: NOT_IMPLEMENTED: no kernel for it")


def test_a_layer_that_cannot_be_quantised_alone_is_the_first_to_be_left_alone(search, monkeypatch):
    quantise = Quantiser.quantise

    def fails(self, calibration, kept, target, only=None):
        if only == "second":
            raise ValueError("no ranges")
        quantise(self, calibration, kept, target, only=only)

    monkeypatch.setattr(Quantiser, "quantise", fails)
    trials = search(classifier(wild=True)).trials(lambda _: 2.0, lambda: True, thorough=True)
    kept = [trial.candidate.kept_fp32 for trial in trials if trial.candidate.kept_fp32]
    assert kept[0] == ("second",)
