import contextlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
from tritonclient.grpc import service_pb2
from tritonclient.grpc.model_config_pb2 import ModelConfig

import loadtests.overhead.__main__ as command
import loadtests.overhead.comparison as comparison_module
from loadtests.circumstances import machine
from loadtests.closed_loop import Run
from loadtests.overhead.__main__ import main
from loadtests.overhead.comparison import Comparison, Plan, WrongAnswer

INPUTS = {"x": np.ones((1, 2), np.float32)}
PLAN = Plan(clients=(1, 8), rounds=2, seconds=0.1, quiet=0.1, attempts=2, tolerance=1e-5)


def reply(value=1.0, twin=None):
    response = service_pb2.ModelInferResponse()
    response.outputs.add(name="y", datatype="FP32", shape=[1, 1])
    response.raw_output_contents.append(np.array([value], np.float32).tobytes())
    if twin is not None:
        response.outputs.add(name="served_by", datatype="BYTES", shape=[1, 1])
        response.raw_output_contents.append(len(twin).to_bytes(4, "little") + twin)
    return response.SerializeToString()


class Connections:
    """In place of a server: answers at once, and notes which model was under which load."""

    def __init__(self, hybrid=None, errors=()):
        self.loads = []
        self.hybrid = reply(twin=b"onnx") if hybrid is None else hybrid
        self.errors = list(errors)

    def ask(self, request):
        return reply()

    def run(self, request, clients, seconds, keep_every):
        model = service_pb2.ModelInferRequest.FromString(request).model_name
        self.loads.append((model, clients))
        hybrid = model == "net"
        return Run(
            seconds=1.0,
            latencies=[0.002 if hybrid else 0.001] * 10,
            errors=self.errors if hybrid else [],
            kept=[self.hybrid if hybrid else reply()],
        )


def compared(connections, pid=None, first="onnx"):
    return Comparison(connections, "net", first, INPUTS, pid)


def test_both_are_warmed_up_and_then_take_turns_in_changing_order():
    connections = Connections()
    rounds = compared(connections).measure(PLAN)
    assert {clients: len(of) for clients, of in rounds.items()} == {1: 2, 8: 2}
    turns = connections.loads[2:]
    assert {clients: [model for model, n in turns if n == clients][:4] for clients in (1, 8)} == {
        1: ["net_onnx", "net", "net", "net_onnx"],
        8: ["net_onnx", "net", "net", "net_onnx"],
    }
    assert rounds[1][0].hybrid.p50_ms == pytest.approx(2.0)
    assert rounds[1][0].twin.p50_ms == pytest.approx(1.0)


def test_a_lone_client_goes_to_and_fro_within_a_round_and_its_turns_count_as_one():
    connections = Connections()
    rounds = compared(connections).measure(PLAN)
    alone, several = ([model for model, n in connections.loads[2:] if n == clients] for clients in (1, 8))
    assert (len(alone), len(several)) == (2 * 2 * 6, 2 * 2)
    assert alone.count("net") == alone.count("net_onnx")
    assert rounds[1][0].twin.throughput == rounds[8][0].twin.throughput == pytest.approx(10.0)


def test_of_a_server_somewhere_else_no_processor_time_is_told():
    (elsewhere,) = compared(Connections()).measure(Plan((8,), 1, 0.1, 0.1, 2, 1e-5))[8]
    assert (elsewhere.hybrid.server_cpu_ms, elsewhere.twin.server_cpu_ms, elsewhere.others) == (None, None, None)
    (here,) = compared(Connections(), pid=1).measure(Plan((8,), 1, 0.1, 2.0, 2, 1e-5))[8]
    assert here.hybrid.server_cpu_ms >= 0
    assert here.others >= 0


def test_a_disturbed_round_is_repeated(monkeypatch):
    shares = iter([0.0, 0.5, 0.0, 0.0, 0.0, 0.0])
    monkeypatch.setattr(comparison_module, "others_share", lambda before, after: next(shares))
    comparison = compared(Connections(), pid=1)
    (rounds,) = comparison.measure(Plan((8,), 2, 0.1, 0.1, 2, 1e-5)).values()
    assert [one.others for one in rounds] == [0.0, 0.0]
    assert comparison.repeated == 1


def test_disturbed_rounds_count_once_the_attempts_are_spent(monkeypatch):
    monkeypatch.setattr(comparison_module, "others_share", lambda before, after: 0.5)
    comparison = compared(Connections(), pid=1)
    (rounds,) = comparison.measure(Plan((8,), 2, 0.1, 0.1, 2, 1e-5)).values()
    assert [one.others for one in rounds] == [0.5, 0.5]
    assert comparison.repeated == 2


@pytest.mark.parametrize(
    ("connections", "told"),
    [
        (Connections(errors=["UNAVAILABLE: gone"]), "1 requests to net failed; the first: UNAVAILABLE: gone"),
        (Connections(hybrid=reply(twin=b"original")), "answered by"),
        (Connections(hybrid=reply(2.0, b"onnx")), "differs"),
    ],
)
def test_a_failed_request_or_a_wrong_answer_ends_it(connections, told):
    with pytest.raises(WrongAnswer, match=told):
        compared(connections).measure(PLAN)


def test_where_the_original_is_asked_first_it_is_what_the_hybrid_is_measured_against():
    connections = Connections(hybrid=reply(twin=b"original"))
    compared(connections, first="original").measure(PLAN)
    assert {model for model, _ in connections.loads} == {"net", "net_original"}


class Interrupted(Connections):
    """Ctrl-C as soon as so many clients ask."""

    def __init__(self, at, twin):
        super().__init__(hybrid=reply(twin=twin))
        self.at = at

    def run(self, request, clients, seconds, keep_every):
        if clients == self.at:
            raise KeyboardInterrupt
        return super().run(request, clients, seconds, keep_every)


@pytest.fixture
def interrupted_at(monkeypatch, tmp_path):
    """Runs the command until so many clients ask; gives its exit code, and what it wrote."""

    def run(clients, prefer="onnx", twin=b"onnx"):
        config = ModelConfig()
        config.parameters["prefer"].string_value = prefer
        client = SimpleNamespace(get_model_config=lambda name: SimpleNamespace(config=config))
        monkeypatch.setattr(command.direct, "client", lambda url: contextlib.nullcontext(client))
        monkeypatch.setattr(command, "Connections", lambda url: contextlib.nullcontext(Interrupted(clients, twin)))
        monkeypatch.setattr(command, "random_inputs", lambda config, seed: INPUTS)
        monkeypatch.setattr(command, "configuration", lambda client, models: {"models": models})
        monkeypatch.setattr(command, "ahead_of_the_server", lambda: contextlib.nullcontext(True))
        output = tmp_path / "overhead.json"
        asked = ["--url", "h:1", "--clients", "1", "8", "64", "--rounds", "2", "--model", "net"]
        code = main([*asked, "--output", str(output), "--max-added-p50-ms", "0.1"])
        return code, json.loads(output.read_text()) if output.is_file() else None

    return run


def test_after_an_interruption_the_numbers_of_clients_that_were_measured_are_written(interrupted_at, capsys):
    code, found = interrupted_at(8)
    assert (code, list(found["rounds"])) == (130, ["1"])
    assert found["unfinished"] == "interrupted, so nothing is told of 8, 64 clients"
    assert found["added_server_cpu_ms"] == {"1": None}
    printed = capsys.readouterr()
    assert "interrupted, so nothing is told of 8, 64 clients; the rest is in" in printed.err
    assert len(printed.out.splitlines()) == 3


def test_the_command_asks_the_twin_that_the_hybrid_asks_first(interrupted_at):
    code, found = interrupted_at(8, "1:original,9:onnx", b"original")
    assert (code, found["config"]["models"]) == (130, ["net_original", "net"])


def test_an_interruption_before_anything_was_measured_is_told_in_one_sentence(interrupted_at, capsys):
    assert interrupted_at(1) == (130, None)
    printed = capsys.readouterr()
    assert (printed.err.count("\n"), printed.out) == (1, "")
    assert printed.err.startswith("interrupted before")


def test_help_tells_the_options_and_exit_codes(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for word in ("--clients", "--rounds", "--url", "--min-throughput-ratio", "exit codes"):
        assert word in printed


@pytest.mark.parametrize("wrong", [["--clients", "0"], ["--rounds", "x"], ["--nonsense"]])
def test_a_wrong_argument_is_usage(wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize("where", [["--repository", "not/there"], ["--url", "127.0.0.1:1"]])
def test_a_server_that_cannot_be_had_is_told_in_one_sentence(where, capsys):
    assert main(where) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_the_machine_is_described():
    told = machine()
    assert told["cores"] >= told["usable_cores"] >= 1
    assert told["processor"]
