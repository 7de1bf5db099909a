"""What `make replicas` makes of its turns: these are written by hand, and neither servers nor HAProxy are there."""

import contextlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
from tritonclient.grpc import service_pb2
from tritonclient.grpc.model_config_pb2 import ModelConfig
from tritonclient.utils import serialize_byte_tensor

import loadtests.replicas.__main__ as command
from loadtests.closed_loop import Run
from loadtests.wire import Answer


@pytest.fixture
def replicas(monkeypatch, tmp_path, capsys):
    """Runs the command with `turn` in the place of one; gives exit code, JSON, page and what it told."""

    def go(*arguments, turn=lambda replicas: 100.0 * replicas, prefer="onnx"):
        def one(arguments, servers, replicas, request, first):
            go.first = first
            return {"per_s": turn(replicas), "p50_ms": 1.0, "p99_ms": 2.0}

        server = SimpleNamespace(http_url="h:1", grpc_url="h:2")
        config = ModelConfig()
        config.parameters["prefer"].string_value = prefer
        client = SimpleNamespace(get_model_config=lambda name: SimpleNamespace(config=config))
        monkeypatch.setattr(command, "TritonServer", lambda *_, **__: contextlib.nullcontext(server))
        monkeypatch.setattr(command.direct, "client", lambda url: contextlib.nullcontext(client))
        monkeypatch.setattr(command, "served_as", lambda client, names: {"triton": "2", "models": names})
        monkeypatch.setattr(command, "random_inputs", lambda config, seed: {})
        monkeypatch.setattr(command, "_turn", one)
        output = tmp_path / "replicas.json"
        code = command.main([*arguments, "--output", str(output)])
        found = json.loads(output.read_text()) if output.is_file() else None
        page = output.with_suffix(".html").read_text() if found else None
        return code, found, page, capsys.readouterr()

    return go


def interrupted_at(number):
    turns = []

    def turn(replicas):
        turns.append(replicas)
        if len(turns) == number:
            raise KeyboardInterrupt
        return 100.0 * replicas

    return turn


def test_each_number_has_its_turn_in_every_round_and_is_told_once(replicas):
    asked = []
    code, found, page, _ = replicas(
        "--replicas", "1", "2", "2", "--rounds", "2", turn=lambda n: asked.append(n) or 100.0 * n
    )
    assert (code, asked) == (0, [1, 2, 2, 1])
    assert {number: one["ratio"] for number, one in found["replicas"].items()} == {"1": 1.0, "2": 2.0}
    assert found["unfinished"] is None
    assert "Unfinished" not in page


def test_the_rounds_before_an_interruption_are_written(replicas):
    code, found, page, printed = replicas("--replicas", "1", "2", turn=interrupted_at(4))
    assert (code, found["unfinished"]) == (130, "interrupted after 1 of 3 rounds")
    assert [len(one["rounds"]) for one in found["replicas"].values()] == [1, 1]
    assert "Unfinished: interrupted after 1 of 3 rounds." in page
    assert printed.err.endswith("interrupted after 1 of 3 rounds\n")


def test_an_interruption_before_a_round_has_ended_leaves_nothing(replicas):
    code, found, _, printed = replicas("--replicas", "1", "2", turn=interrupted_at(2))
    assert (code, found, printed.out) == (130, None, "")
    assert "nothing is written" in printed.err


def test_a_turn_without_an_answer_is_no_turn():
    with pytest.raises(command.AnswersFailed, match="no request was answered"):
        command._check(Run(seconds=1.0), Answer({}, frozenset()), "onnx")


def test_the_twin_that_the_hybrid_asks_first_is_to_answer(replicas):
    _, found, _, _ = replicas("--replicas", "1", "--model", "net", prefer="1:original,9:onnx")
    assert (replicas.first, found["config"]["models"]) == ("original", ["net_original", "net"])
    response = service_pb2.ModelInferResponse()
    response.outputs.add(name="served_by", datatype="BYTES", shape=[1, 1])
    response.raw_output_contents.append(serialize_byte_tensor(np.array([b"original"], np.object_)).item())
    run = Run(seconds=1.0, latencies=[0.1], kept=[response.SerializeToString()])
    command._check(run, Answer({}, frozenset()), "original")
    with pytest.raises(command.AnswersFailed, match="expected 'onnx'"):
        command._check(run, Answer({}, frozenset()), "onnx")
