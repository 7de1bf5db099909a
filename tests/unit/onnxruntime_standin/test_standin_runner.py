"""Running batches: once for all, and alone where one would spoil it. The "graph" is a Python function here."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from python_backend.onnxruntime.errors import FeatureMissing, RequestRefused, SignatureRefused
from python_backend.onnxruntime.graph import Graph, GraphTensor
from python_backend.onnxruntime.runner import Array, Request, Runner
from python_backend.onnxruntime.sequences import SequenceRunner, Step, read_states


class Net:
    """y = x + 1, z = x * 2 over all rows at once; 13 is more than it can take. Remembers what it was run with."""

    def __init__(self) -> None:
        self.runs: list[tuple[list[str], Mapping[str, Array]]] = []

    def __call__(self, names: list[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
        self.runs.append((names, feeds))
        x = feeds["x"]
        if np.any(x == 13):
            raise RuntimeError("13 is out of range")
        return [{"y": x + 1, "z": x * 2}[name] for name in names]


def graph(data_type: str = "TYPE_FP32", shape: tuple[int, ...] = (-1, 2)) -> Graph:
    return Graph(
        {"x": GraphTensor("x", data_type, shape)},
        {name: GraphTensor(name, data_type, shape) for name in ("y", "z")},
        {},
    )


def rows(*values: float) -> Array:
    return np.array([[value, value] for value in values], np.float32).reshape(-1, 2)


def request(*values: float, outputs: tuple[str, ...] = ("y",)) -> Request:
    return Request({"x": rows(*values)}, outputs)


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def runner(net: Net) -> Runner:
    return Runner("net", graph(), net, batched=True, scalars={})


def test_one_request_is_run_on_its_own_array(net: Net, runner: Runner) -> None:
    only = request(1, 2)
    (answer,) = runner.run([only])
    assert isinstance(answer, dict)
    np.testing.assert_array_equal(answer["y"], rows(2, 3))
    assert net.runs[0][1]["x"] is only.inputs["x"], "no copy"


def test_a_batch_is_one_run_and_each_gets_its_rows_and_its_outputs(net: Net, runner: Runner) -> None:
    first, second, third = runner.run([request(1), request(2, 3, outputs=("z", "y")), request(4, outputs=("z",))])
    assert len(net.runs) == 1
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert isinstance(third, dict)
    assert (list(first), list(second), list(third)) == (["y"], ["z", "y"], ["z"])
    np.testing.assert_array_equal(first["y"], rows(2))
    np.testing.assert_array_equal(second["y"], rows(3, 4))
    np.testing.assert_array_equal(third["z"], rows(8))


def test_only_outputs_that_somebody_asks_for_are_computed(net: Net, runner: Runner) -> None:
    runner.run([request(1, outputs=("z",)), request(2, outputs=("z",))])
    assert net.runs[0][0] == ["z"]


def test_one_bad_request_fails_alone(net: Net, runner: Runner) -> None:
    good, bad, other = runner.run([request(1), request(13), request(3)])
    assert isinstance(bad, RequestRefused)
    assert "13 is out of range" in str(bad)
    assert not bad.invalid
    assert isinstance(good, dict)
    assert isinstance(other, dict)
    np.testing.assert_array_equal(other["y"], rows(4))
    assert len(net.runs) == 4, "together once, then each alone"


def test_requests_that_do_not_fit_together_are_run_alone(runner: Runner) -> None:
    wide = Request({"x": np.ones((1, 3), np.float32)}, ("y",))
    first, second = runner.run([request(1), wide])
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert second["y"].shape == (1, 3)


def test_an_empty_batch_is_run_and_comes_back_empty(runner: Runner) -> None:
    empty, full = runner.run([request(), request(1)])
    assert isinstance(empty, dict)
    assert isinstance(full, dict)
    assert empty["y"].shape == (0, 2)
    (alone,) = runner.run([request()])
    assert isinstance(alone, dict)
    assert alone["y"].shape == (0, 2)


def test_an_output_that_does_not_have_the_batchs_rows_is_an_error_not_an_answer() -> None:
    runner = Runner("net", graph(), lambda names, feeds: [feeds["x"].sum(axis=0)], batched=True, scalars={})
    answers = runner.run([request(1, 2, 3), request(4)])
    assert all(isinstance(answer, RequestRefused) for answer in answers)
    assert "has shape [2] for a batch of 3" in str(answers[0])


def test_without_a_batch_every_request_is_run_alone(net: Net) -> None:
    runner = Runner("net", graph(shape=(2, 2)), net, batched=False, scalars={})
    answers = runner.run([request(1, 2), request(3, 4)])
    assert len(net.runs) == 2
    assert all(isinstance(answer, dict) for answer in answers)


def test_a_scalar_is_one_to_the_graph_and_has_its_written_dims_outside() -> None:
    seen = []

    def net(names: list[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
        seen.append(feeds["x"].shape)
        return [feeds["x"] + 1]

    runner = Runner("net", graph(shape=()), net, batched=False, scalars={"y": (1, 1)})
    (answer,) = runner.run([Request({"x": np.array([2], np.float32)}, ("y",))])
    assert seen == [()]
    assert isinstance(answer, dict)
    np.testing.assert_array_equal(answer["y"], [[3]])


def strings(*values: bytes) -> Request:
    return Request({"x": np.array([[value, b""] for value in values], np.object_)}, ("y",))


def echo(names: list[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
    return [feeds["x"] for _ in names]


def test_strings_reach_the_graph_as_text_of_the_same_shape() -> None:
    runner = Runner("net", graph("TYPE_STRING"), echo, batched=True, scalars={})
    (answer,) = runner.run([strings("é".encode(), b"\xf0\x9f\x8e\xb5")])
    assert isinstance(answer, dict)
    assert answer["y"].tolist() == [["é", ""], ["🎵", ""]]


@pytest.mark.parametrize(("raw", "sentence"), [(b"\xff", "element 0 is not UTF-8"), (b"a\0b", "holds a NUL character")])
def test_a_string_that_would_be_changed_on_the_way_is_refused_alone(raw: bytes, sentence: str) -> None:
    runner = Runner("net", graph("TYPE_STRING"), echo, batched=True, scalars={})
    bad, good = runner.run([strings(raw), strings(b"ok")])
    assert isinstance(bad, RequestRefused)
    assert sentence in str(bad)
    assert "input 'x' for model 'net'" in str(bad)
    assert bad.invalid
    assert isinstance(good, dict)


SEQUENCE = {
    "name": "net",
    "sequence_batching": {"state": [{"input_name": "st", "output_name": "st_out", "data_type": "TYPE_FP32"}]},
}
STATEFUL = Graph(
    {name: GraphTensor(name, "TYPE_FP32", (-1, 1)) for name in ("x", "st")},
    {name: GraphTensor(name, "TYPE_FP32", (-1, 1)) for name in ("y", "st_out")},
    {},
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Sums:
    """A runner of y = x + st, st_out = y, for steps written as numbers. Triton's initial state is 100."""

    def __init__(self, idle_s: float = 10.0) -> None:
        self.clock = Clock()
        runner = Runner("net", STATEFUL, self.net, batched=True, scalars={})
        self.runner = SequenceRunner(runner, read_states(SEQUENCE, STATEFUL), idle_s, self.clock)

    @staticmethod
    def net(names: list[str], feeds: Mapping[str, Array]) -> Sequence[Array]:
        if np.any(feeds["x"] == 13):
            raise RuntimeError("13 is out of range")
        total = feeds["x"] + feeds["st"]
        return [total for _ in names]

    def step(self, *steps: tuple[float, int, str]) -> list[float | None]:
        made = [
            Step(
                Request({"x": np.full((1, 1), x, np.float32), "st": np.full((1, 1), 100, np.float32)}, ("y",)),
                key,
                starts="start" in flags,
                ends="end" in flags,
            )
            for x, key, flags in steps
        ]
        answers = self.runner.run(made)
        assert all(isinstance(answer, RequestRefused) or list(answer) == ["y"] for answer in answers)
        return [None if isinstance(answer, RequestRefused) else float(answer["y"][0, 0]) for answer in answers]


def test_a_sequence_goes_on_where_it_was_and_starts_from_tritons_initial_state() -> None:
    sums = Sums()
    assert sums.step((1, 7, "start")) == [101]
    assert sums.step((2, 7, "")) == [103]
    assert sums.step((3, 7, "end")) == [106]
    assert sums.step((1, 7, "start")) == [101]


def test_sequences_in_one_batch_keep_apart_and_idle_slots_keep_nothing() -> None:
    sums = Sums()
    assert sums.step((1, 7, "start"), (5, 8, "start"), (50, 0, "")) == [101, 105, 150]
    assert sums.step((1, 8, ""), (1, 7, ""), (50, 0, "")) == [106, 102, 150]


def test_a_step_that_fails_leaves_the_state_as_it_was() -> None:
    sums = Sums()
    sums.step((1, 7, "start"))
    assert sums.step((13, 7, "")) == [None]
    assert sums.step((1, 7, "")) == [102]


def test_a_sequence_that_triton_has_given_up_is_forgotten() -> None:
    sums = Sums(idle_s=10.0)
    sums.step((1, 7, "start"))
    sums.clock.now = 21.0
    sums.step((1, 8, "start"))
    assert len(sums.runner._kept) == 1


def test_state_that_the_graph_lacks_or_the_stand_in_cannot_keep_is_refused() -> None:
    def state(**changes: object) -> dict[str, object]:
        kept = {"input_name": "st", "output_name": "st_out", "data_type": "TYPE_FP32", **changes}
        return {"name": "net", "sequence_batching": {"state": [kept]}}

    with pytest.raises(SignatureRefused, match="sequence state input 'nope'"):
        read_states(state(input_name="nope"), STATEFUL)
    with pytest.raises(SignatureRefused, match="sequence state input 'st' of TYPE_INT32"):
        read_states(state(data_type="TYPE_INT32"), STATEFUL)
    for field in ("use_same_buffer_for_input_output", "use_growable_memory"):
        with pytest.raises(FeatureMissing, match=f"sequence_batching.state: {field}"):
            read_states(state(**{field: True}), STATEFUL)
    with pytest.raises(FeatureMissing, match="data_type TYPE_STRING"):
        read_states(state(data_type="TYPE_STRING"), STATEFUL)
    assert read_states({"name": "net"}, STATEFUL) == {}
