"""Who wins a search: times and accuracies are given, and no graph is made."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from conversion.errors import AccuracyLost, ArtefactError
from conversion.measuring.timing import Timing
from conversion.proof.accuracy import Accuracy
from conversion.proof.parity import Case, Parity
from conversion.search import search as module
from conversion.search.candidates import Candidate, Trial
from conversion.search.search import ORIGINAL, Search
from conversion.spec import SearchSpec

REWRITES = ("onnxslim", "convolutions", "stem")


class Gates:
    """Weighs trials by the loss that is given for each."""

    def __init__(self, losses):
        self._losses = losses
        self.weighed = []

    def twin(self, trial):
        return SimpleNamespace(run=lambda batch: batch)

    def weigh(self, trial):
        if trial.alive and trial.accuracy is None:
            self.weighed.append(trial.name)
            loss = self._losses[trial.name]
            trial.accuracy = Accuracy("agreement", 200, 1.0, 1.0 - loss, loss, (0.0, loss), 0.001)
            if trial.accuracy.failure:
                trial.end("accuracy", trial.accuracy.failure)
        return trial


@pytest.fixture
def search(spec, tmp_path, monkeypatch):
    """A search among one exporter's graphs, each with one more rewrite than the last: what each takes and loses."""

    def make(speeds, losses):
        trials = [Trial(Candidate("dynamo", REWRITES[:count])) for count in range(len(speeds))]
        by_name = dict(zip((trial.name for trial in trials), speeds, strict=True)) | {ORIGINAL: 1.0}
        gates = Gates(dict(zip(by_name, losses, strict=False)))

        class Maker:
            def __init__(self, *_):
                pass

            def make(self, made):
                made += trials
                return list(trials)

        def race(calls, how, patience):
            first = by_name[next(iter(calls))]
            return {name: Timing(5, 1.0, (1.0, 1.0), 1.0, (1.0, 1.0), gain=by_name[name] / first) for name in calls}

        monkeypatch.setattr(module, "GraphMaker", Maker)
        monkeypatch.setattr(module, "race", race)
        monkeypatch.setattr(module, "eight_bits", lambda *_: [])
        wanted = SimpleNamespace(
            search=SearchSpec(),
            timed_sizes=spec.timed_sizes,
            microbatches=(),
            name=spec.name,
            precisions=("fp32", "int8"),
        )
        subject = SimpleNamespace(
            spec=wanted, batched=True, make=lambda size, number: {}, run_raced=lambda batch: batch, threads=1
        )
        case = Case({"x": np.ones((2, 3))}, {})
        return Search(subject, [case], gates, tmp_path, lambda _: None), gates

    return make


def fates(search):
    return [(len(trial.candidate.rewrites), trial.fate) for trial in search.trials]


def test_ranges_are_computed_from_the_samples_of_all_cases_of_few_rows(search, monkeypatch):
    made, _ = search([1.0], [0.0])
    calibrated = []
    monkeypatch.setattr(module, "eight_bits", lambda *given: calibrated.append(given[-1].rows) or [])
    one, zeros = Case({"x": np.ones((1, 3))}, {}), Case({"x": np.zeros((8, 3))}, {}, "zeros")
    made._cases = [one, Case({"x": np.ones((2, 3))}, {}), one, zeros]
    made.run()
    assert calibrated == [4]


@pytest.mark.parametrize("changed", [{"precisions": ("fp32",)}, {"batched": False}])
def test_answers_without_rows_are_not_joined(search, changed):
    made, _ = search([1.0], [0.0])
    wanted = made._subject.spec
    made._cases = [Case({"x": np.ones((2, 3))}, {"y": np.array(number)}) for number in (1.0, 2.0)]
    for name, value in changed.items():
        setattr(wanted if hasattr(wanted, name) else made._subject, name, value)
    assert made.run()[0].fate == "chosen"


def test_those_that_are_clearly_slower_are_not_weighed(search):
    made, gates = search([1.0, 3.0], [0.0, 0.0])
    winner, _ = made.run()
    assert winner.name == "dynamo+onnxslim fp32"
    assert gates.weighed == [winner.name]
    assert fates(made) == [(0, "slower"), (1, "chosen")]


def test_where_no_finalist_is_accurate_enough_the_next_fastest_that_is_wins(search):
    made, gates = search([1.0, 2.0, 1.5, 4.0], [0.0, 0.0, 0.005, 0.005])
    winner, times = made.run()
    assert winner.name == "dynamo+onnxslim fp32"
    assert (winner.fate, winner.reason) == ("chosen", "")
    assert set(times) == set(made._subject.spec.timed_sizes)
    assert fates(made) == [(0, "slower"), (1, "chosen"), (2, "slower"), (3, "accuracy")]
    assert "in the first race" in made.trials[0].reason
    assert gates.weighed == ["dynamo+onnxslim+convolutions+stem fp32", winner.name]


def test_where_those_left_behind_are_no_more_accurate_each_tells_its_loss(search):
    made, _ = search([1.0, 2.0, 4.0], [0.002, 0.003, 0.005])
    with pytest.raises(AccuracyLost, match=r"dynamo fp32 came nearest: it loses 0\.200%"):
        made.run()
    assert fates(made) == [(0, "accuracy"), (1, "accuracy"), (2, "accuracy")]


def test_a_metric_that_fails_on_every_twin_that_holds_is_told_and_no_failed_export(search):
    """Also where another one does not hold: that one did not come nearest."""
    made, gates = search([1.0, 2.0], [])
    differing = Trial(Candidate("torchscript"), fate="parity", parity=Parity(()))

    def weigh(trial):
        trial.error = ArtefactError(f"the accuracy of {trial.name} cannot be measured")
        return trial.end("failed", str(trial.error))

    gates.weigh = weigh
    made.trials.append(differing)
    for trial in (holding := module.GraphMaker().make([])):
        trial.parity = Parity(())
    with pytest.raises(ArtefactError, match=rf"the accuracy of {re.escape(holding[-1].name)} cannot be measured"):
        made.run()
