"""What is measured and what is not, and that no failure of measuring ends a conversion."""

import contextlib
from dataclasses import asdict, replace

import numpy as np
import pytest

from conversion.arrangements import settling
from conversion.arrangements.arrangement import Arrangement
from conversion.arrangements.settling import Machine, settle
from conversion.errors import RehearsalImpossible, ReleaseRefused
from conversion.interface import Facts
from conversion.proof.parity import Case
from conversion.release.golden import GOLDEN, write_golden
from conversion.spec import SearchSpec
from conversion.spec.serving import ServingSpec

BUILT = {
    "inputs": [asdict(Facts("x", "float32", ("batch", 4))), asdict(Facts("t", "int64", ("batch",)))],
    "outputs": [asdict(Facts("y", "float32", ("batch", 4)))],
    "chosen": {"precision": "fp32"},
    "graph": {"operators": {"Conv": 2}},
}
DEFAULT = Arrangement(2, 1, dynamic_batching=True, joined_rows=32)


@pytest.fixture
def work(tmp_path):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes(b"graph")
    inputs = {"x": np.ones((3, 4), np.float32), "t": np.arange(3)}
    write_golden(Case(inputs, {"y": np.ones((3, 4), np.float32)}), tmp_path / GOLDEN)
    return tmp_path


def never(_):
    raise AssertionError("nothing is to be measured")


def settled(spec, work, serve=never, cores=2, free=20e9):
    told = []
    machine = Machine(serve, cores, lambda: free) if serve else None
    found = settle(spec, BUILT, work, machine, report=told.append)
    assert not (work / "arrangements").exists()
    return found, told


def test_what_the_spec_fixes_is_served_and_nothing_is_measured(spec, work):
    serving = ServingSpec(instances=3, threads=1, dynamic_batching=False)
    found, told = settled(replace(spec, serving=serving), work)
    assert (found.arrangement, found.how) == (Arrangement(3, 1, dynamic_batching=False, joined_rows=1), "spec")
    assert told == []


@pytest.mark.parametrize(
    ("change", "serve", "cores", "reason"),
    [
        ({"search": SearchSpec(level="off")}, never, 2, "the search is off"),
        ({}, None, 2, "no server of its own was wanted for it"),
        ({"serving": ServingSpec(dynamic_batching=True)}, never, 1, "the cores leave no choice"),
    ],
)
def test_where_nothing_can_be_measured_the_default_is_served_and_the_evidence_says_why(
    spec, work, change, serve, cores, reason
):
    found, told = settled(replace(spec, **change), work, serve, cores)
    assert (found.how, found.reason) == ("default", reason)
    assert found.arrangement == (DEFAULT if cores == 2 else Arrangement(1, 1, dynamic_batching=True, joined_rows=32))
    assert found.facts()["arrangements"] == []
    assert told == []


def test_more_processes_than_there_are_regions_of_shared_memory_for_are_not_started(spec, work):
    found, _ = settled(replace(spec, serving=ServingSpec(hybrid_instances=16)), work, cores=16)
    assert (found.how, found.arrangement.hybrid_instances) == ("default", 16)
    assert "processes at once are more than the 64" in found.reason


@pytest.mark.parametrize(
    "error", [RehearsalImpossible("no Triton here"), ReleaseRefused("it crashed"), OSError("full")]
)
def test_a_server_that_does_not_come_up_leaves_the_default(spec, work, error):
    def serve(scratch):
        assert (scratch / "net_1x2_onnx" / "1" / "model.onnx").read_bytes() == b"graph"
        raise error

    found, _ = settled(spec, work, serve)
    assert (found.arrangement, found.how, found.reason) == (DEFAULT, "default", str(error))


def test_a_machine_with_too_little_memory_is_left_alone(spec, work):
    found, _ = settled(spec, work, free=1e9)
    assert found.how == "default"
    assert found.reason.startswith("9 instances at once could take 1,350 MB, and 1,000 MB are available")


@contextlib.contextmanager
def nowhere(_):
    class Server:
        address = "127.0.0.1:9"

    yield Server()


def test_where_every_request_fails_the_default_is_served(spec, work):
    found, told = settled(spec, work, nowhere)
    assert (found.arrangement, found.how) == (DEFAULT, "default")
    assert found.reason.startswith("no arrangement answered all requests: ")
    assert told == ["measuring 6 ways to serve it, for one client and for many"]


def test_an_interrupt_is_no_failure_of_measuring(spec, work):
    def serve(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        settled(spec, work, serve)


def test_one_golden_row_is_sent_and_a_scalar_a_row_has_one_dimension(work):
    facts = tuple(Facts(**one) for one in BUILT["inputs"])
    row = settling.first_row(work / GOLDEN, facts, batched=True)
    assert {name: array.shape for name, array in row.items()} == {"x": (1, 4), "t": (1, 1)}


def test_without_rows_all_is_sent_as_it_is_announced(tmp_path):
    write_golden(Case({"x": np.ones((3, 4)), "t": np.array(7)}, {}), tmp_path / GOLDEN)
    facts = tuple(Facts(**one) for one in BUILT["inputs"])
    row = settling.first_row(tmp_path / GOLDEN, facts, batched=False)
    assert {name: array.shape for name, array in row.items()} == {"x": (3, 4), "t": (1,)}
