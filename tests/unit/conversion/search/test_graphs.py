"""Which exporters and rewrites are tried: graphs are given, and no framework exports one."""

import pytest

from conversion.errors import ExportFailed
from conversion.graphs.optimise import Rewrite
from conversion.search import graphs as module
from conversion.search.gates import Gates
from conversion.search.graphs import GraphMaker

from ..classifier import classifier


def renamed(graph):
    """A rewrite that changes no answer."""
    changed = type(graph)()
    changed.CopyFrom(graph)
    changed.graph.name += "'"
    return changed


@pytest.fixture
def made(subject, tmp_path, monkeypatch):
    """Names of all trials, where each step of the search takes a second of `budget`; `broken` exporters fail."""

    def make(budget, broken=()):
        clock = [0]

        def step(result):
            clock[0] += 1
            return result

        def export(exporter, *_, **__):
            if exporter in broken:
                raise step(ExportFailed("net", [(exporter, "an operator")]))
            return step(classifier()), []

        rewrites = tuple(
            Rewrite(name, lambda graph: step(renamed(graph)), ("fast",), "") for name in ("first", "second")
        )
        monkeypatch.setattr(module, "export_torch", export)
        monkeypatch.setattr(module, "REWRITES", rewrites)
        found = subject(classifier())
        gates, trials = Gates(found, found.cases(), None, tmp_path / "candidates"), []
        held = GraphMaker(found, gates, lambda _: None, lambda: clock[0] < budget).make(trials)
        assert held == [trial for trial in trials if trial.alive] != []
        return [trial.name.removesuffix(" fp32") for trial in trials]

    return make


def test_in_time_every_exporter_and_every_rewrite_is_tried(made):
    assert made(100) == [
        *("dynamo", "dynamo+first", "dynamo+first+second"),
        *("torchscript", "torchscript+first", "torchscript+first+second"),
    ]


@pytest.mark.parametrize("budget", [1, 2, 3, 4])
def test_once_a_graph_holds_nothing_new_is_tried_when_time_is_up(made, budget):
    assert len(made(budget)) == budget


@pytest.mark.parametrize(("broken", "tried"), [([], ["dynamo"]), (["dynamo"], ["dynamo", "torchscript"])])
def test_a_first_graph_is_made_however_long_it_takes(made, broken, tried):
    assert made(0, broken) == tried
