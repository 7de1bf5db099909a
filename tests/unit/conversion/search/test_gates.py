from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from conversion.errors import ArtefactError
from conversion.interface import Facts
from conversion.proof.accuracy import Labelled, Scorer
from conversion.proof.stress import stress_cases
from conversion.search.candidates import FATES, Candidate, Trial
from conversion.search.gates import Gates

from ..classifier import batch, classifier


@pytest.fixture
def gates(subject, tmp_path):
    """Gates for a graph, with stress; labels are the original's own answers."""

    def make(graph, **more):
        made = subject(graph, **more)
        data = batch(60, 9)
        labels = made.run(data)["scores"].argmax(axis=1)
        scorer = Scorer(made.spec, Labelled(data, labels), made.run)
        return Gates(made, [*made.cases(), *stress_cases(made)[0]], scorer, tmp_path / "candidates")

    return make


def changed(graph, name, change):
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    for tensor in copy.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)).astype(np.float32), name))
    return copy


def test_a_graph_that_answers_the_same_holds_and_lies_on_disk(gates):
    trial = gates(classifier()).admit(Trial(Candidate("dynamo")), classifier())
    assert trial.alive
    assert trial.path.is_file()
    assert trial.parity.worst < 0.01
    assert {c.case.partition(":")[0] for c in trial.parity.comparisons} >= {"zeros", "tiny", "large", "noise"}


def test_a_graph_that_answers_otherwise_fails_at_parity_and_leaves_no_file(gates, tmp_path):
    trial = gates(classifier()).admit(Trial(Candidate("dynamo")), changed(classifier(), "offset", lambda b: b + 0.01))
    assert trial.fate == "parity"
    assert "values differ by more than" in trial.reason
    assert list((tmp_path / "candidates").iterdir()) == []


@pytest.fixture
def limited():
    """A classifier whose activations end at 500, which only large inputs reach, as half precision ends at 65504."""
    graph = classifier()
    graph.graph.node[1].CopyFrom(onnx.helper.make_node("Clip", ["a", "least", "most"], ["b"]))
    graph.graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "least"))
    graph.graph.initializer.append(numpy_helper.from_array(np.array(500, np.float32), "most"))
    return graph


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16"])
def test_a_graph_that_fails_only_under_stress_fails(gates, limited, precision):
    trial = gates(classifier()).admit(Trial(Candidate("dynamo", precision=precision)), limited)
    assert trial.fate == "parity"
    assert trial.reason.startswith("output 'scores' at large: ")


@pytest.mark.parametrize("precision", ["int8", "int8_dynamic"])
def test_eight_bits_alone_are_not_held_to_large_inputs(gates, limited, precision):
    trial = gates(classifier()).admit(Trial(Candidate("dynamo", precision=precision)), limited)
    assert trial.alive
    assert {c.case.partition(":")[0] for c in trial.parity.comparisons} >= {"zeros", "tiny", "noise"}


def test_sizes_past_a_bound_of_the_export_are_proved_where_the_original_has_answers(gates):
    def tall(graph):
        graph.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
        return graph

    def only_a_part(arrays, answer):
        if arrays["x"].shape[2] > 20:
            raise ArtefactError("too tall")
        return {"scores": answer["scores"] + (arrays["x"].shape[2] > 15)}

    made = gates(tall(classifier()), change=only_a_part)
    made._subject = replace(made._subject, inputs=(Facts("x", "float32", ("batch", 3, "height", 12)),))
    made.prove_beyond([{"height": 14}, {"height": 21}])
    assert made.admit(Trial(Candidate("dynamo")), tall(classifier())).alive
    made.prove_beyond([{"height": 16}])
    trial = made.admit(Trial(Candidate("torchscript")), tall(classifier()))
    assert trial.reason.startswith("output 'scores' at past a bound of the export: x[2, 3, 16, 12]: ")
    assert made.by_size(trial.parity)
    elsewhere = made.admit(Trial(Candidate("dynamo")), changed(tall(classifier()), "offset", lambda b: b + 0.01))
    assert not made.by_size(elsewhere.parity)


def test_operators_that_a_server_may_lack_are_refused(gates):
    graph = classifier()
    graph.graph.node[1].domain = "com.microsoft"
    graph.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    trial = gates(classifier()).admit(Trial(Candidate("dynamo")), graph)
    assert trial.fate == "refused"
    assert "com.microsoft" in trial.reason
    assert trial.error is not None


def test_a_twin_that_loses_accuracy_is_refused_though_it_is_within_the_tolerance(gates):
    """Eight bits may move values: that is for accuracy to judge."""
    trial = Trial(Candidate("dynamo", precision="int8"))
    made = gates(classifier())
    made.admit(trial, changed(classifier(), "offset", lambda b: b + 0.15 * (np.arange(5) == 2)))
    assert trial.alive, trial.reason
    made.weigh(trial)
    assert trial.fate == "accuracy"
    assert trial.accuracy.loss > 0.001
    assert "95 % interval" in trial.reason
    assert trial.path is None


def test_the_first_fate_stands_and_every_fate_is_explained():
    trial = Trial(Candidate("dynamo")).end("parity", "first")
    assert trial.end("slower", "second").reason == "first"
    assert {"failed", "refused", "parity", "accuracy", "slower", "skipped", "chosen"} == FATES.keys()


def test_a_candidate_tells_how_it_was_made():
    assert Candidate("dynamo").name == "dynamo fp32"
    assert Candidate("tf2onnx", ("onnxslim",), "int8", "minmax", ("a", "b")).name == (
        "tf2onnx+onnxslim int8 (minmax, 2 layers fp32)"
    )


def test_one_whose_accuracy_cannot_be_measured_is_refused_alone(subject, tmp_path):
    class Raising:
        def accuracy(self, run):
            raise ZeroDivisionError("no row is left")

    made = subject(classifier())
    gates = Gates(made, made.cases(), Raising(), tmp_path / "candidates")
    trial = gates.weigh(gates.admit(Trial(Candidate("dynamo")), classifier()))
    assert (trial.fate, trial.alive) == ("failed", False)
    assert trial.reason == "its accuracy cannot be measured: ZeroDivisionError: no row is left"
    assert list((tmp_path / "candidates").iterdir()) == []


def test_a_metric_that_fails_on_a_twins_answers_is_kept_as_the_users_to_mend(subject, tmp_path):
    class Picky:
        def accuracy(self, run):
            raise ArtefactError("accuracy.metric 'data.py:f1': ZeroDivisionError: no note is left")

    made = subject(classifier())
    gates = Gates(made, made.cases(), Picky(), tmp_path / "candidates")
    trial = gates.weigh(gates.admit(Trial(Candidate("dynamo")), classifier()))
    told = "cannot be measured: accuracy.metric 'data.py:f1': ZeroDivisionError: no note is left"
    assert (trial.fate, trial.reason) == ("failed", f"its accuracy {told}")
    assert isinstance(trial.error, ArtefactError)
    assert str(trial.error) == f"net: the accuracy of dynamo fp32 {told}"
    assert list((tmp_path / "candidates").iterdir()) == []
