"""What is made of the answers of ONNX Runtime alone: sessions are written by hand."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import loadtests.rivals.in_process as in_process
from loadtests.questions import Question
from loadtests.wire import Answer, Tolerance


def question(inputs, outputs):
    return Question(inputs, Answer(outputs, frozenset()), Tolerance(1e-4, 1e-3))


@pytest.fixture
def ask(monkeypatch):
    """Asks a session whose `run` takes inputs by name and gives the output y; gives the figures."""

    def asked(run, one, *, users=2, seconds=0.2, check_every=1):
        session = SimpleNamespace(
            get_outputs=lambda: [SimpleNamespace(name="y")], run=lambda names, inputs: [run(inputs)]
        )
        monkeypatch.setattr(in_process, "open_session", lambda path, calls: session)
        monkeypatch.setattr(in_process, "calls_for", lambda users: 2)
        return in_process.ask(Path("model.onnx"), [one], users, seconds, check_every)

    return asked


ONE = question({"x": np.ones((1, 2), np.float32)}, {"y": np.full((1, 2), 2.0, np.float32)})


def test_right_answers_are_counted(ask):
    found = ask(lambda inputs: inputs["x"] * 2, ONE)
    assert found["answers"] == found["served_by"][""] > 2
    assert (found["failed"], found["wrong"], found["errors"]) == (0, 0, [])


def test_what_fails_is_counted_and_its_user_asks_again(ask):
    calls = []

    def run(inputs):
        calls.append(1)
        if len(calls) % 3 == 0:
            raise RuntimeError("no memory\nat all")
        return inputs["x"] * 2

    found = ask(run, ONE)
    assert found["answers"] + found["failed"] == len(calls) - 1
    assert found["failed"] > 2
    assert found["errors"] == [{"of": "in process", "said": "no memory", "times": found["failed"]}]


def test_where_nothing_is_answered_no_time_is_known(ask):
    first = []

    def run(inputs):
        if first:
            raise RuntimeError("no memory")
        first.append(1)

    found = ask(run, ONE)
    assert (found["answers"], found["p99_ms"], found["slowest_ms"], found["counted_until"]) == (0, None, None, None)
    assert (found["answers_per_second"], found["served_by"], found["by_second"]) == (0, {}, {})
    assert found["failed"] > 0


def test_the_first_answer_is_compared_however_few_there_are(ask):
    found = ask(lambda inputs: inputs["x"], ONE, check_every=10**9)
    assert found["wrong"] == 1


def test_strings_are_asked_and_answered_as_what_they_are(ask):
    words = np.array([["a"], ["\u00e4"]], object)
    sent = np.array([[b"a"], ["\u00e4".encode()]], object)
    seen = []

    def run(inputs):
        seen.append(inputs["x"].tolist())
        return inputs["x"]

    found = ask(run, question({"x": sent}, {"y": sent}))
    assert seen[0] == words.tolist()
    assert (found["wrong"], found["failed"]) == (0, 0)
