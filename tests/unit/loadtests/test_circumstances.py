import os

import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig

from loadtests.circumstances import asked_first, machine
from loadtests.load import stage
from loadtests.rivals import session
from python_backend.hybrid.preference import read_preference


@pytest.fixture
def _on_one_core():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("_on_one_core")
def test_the_cores_that_may_be_used_are_told_beside_those_of_the_machine():
    told = machine()
    assert told["cores"] == os.cpu_count()
    assert told["usable_cores"] == 1


def test_rivals_and_locust_keep_to_the_cores_that_may_be_used(monkeypatch):
    """A quota takes none of them away from sight: a thread for each that is seen would be throttled."""
    for module in (session, stage):
        monkeypatch.setattr(module, "available_cores", lambda: 8)
    assert [session.calls_for(users) for users in (1, 8, 500)] == [1, 8, 8]
    assert [session.threads_for(calls) for calls in (1, 2, 8, 9)] == [8, 4, 1, 1]
    assert [stage._processes(users) for users in (1, 500)] == [1, 2]


@pytest.mark.parametrize(
    "prefer", ["onnx", "original", "1:original,9:onnx", "1:onnx, 2:original", " 1:original", "1:onnx,2:original,4:onnx"]
)
def test_the_twin_that_is_asked_first_is_read_as_the_hybrid_reads_it(prefer):
    config = ModelConfig()
    config.parameters["prefer"].string_value = prefer
    assert asked_first(config) == read_preference(prefer).twin(1)


def test_a_hybrid_that_says_nothing_asks_the_onnx_twin_first():
    assert asked_first(ModelConfig()) == "onnx"
    assert not ModelConfig().parameters
