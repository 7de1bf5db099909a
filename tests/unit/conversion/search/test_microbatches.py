import onnx
import pytest

from conversion.search.candidates import Candidate, Trial
from conversion.search.gates import Gates
from conversion.search.microbatches import microbatch_trials, whole_or_in_pieces
from conversion.spec import SearchSpec

from ..classifier import classifier

PIECES = SearchSpec().microbatches


@pytest.fixture
def gates(subject, tmp_path):
    made = subject(classifier())
    return Gates(made, made.cases(), None, tmp_path / "candidates")


@pytest.fixture
def whole(gates):
    return gates.admit(Trial(Candidate("dynamo", ("onnxslim",))), classifier())


def gains(*values):
    return lambda trials: (1.0, *values[: len(trials) - 1])


def test_the_fastest_piece_is_left_to_race_and_the_others_say_by_how_much_they_are_slower(gates, whole):
    small, middle, large = microbatch_trials(whole, PIECES, 100, gates, gains(1.2, 1.3, 0.9))
    assert [one.candidate.microbatch for one in (small, middle, large)] == [2, 4, 16]
    assert (middle.alive, middle.name) == (True, "dynamo+onnxslim fp32 (microbatches of 4)")
    assert middle.parity is not None
    assert middle.parity.failures == []
    assert [node.op_type for node in onnx.load(middle.path).graph.node].count("Loop") == 1
    assert (small.fate, small.reason) == ("slower", f"0.92 times as fast as {middle.name} at 100 rows")
    assert large.fate == "slower"
    assert whole.alive


def test_none_is_left_where_the_whole_batch_is_faster(gates, whole):
    trials = microbatch_trials(whole, PIECES, 100, gates, gains(0.89, 0.85, 0.9))
    assert {trial.fate for trial in trials} == {"slower"}
    assert trials[0].reason == f"0.89 times as fast as {whole.name} at 100 rows"
    assert not any(trial.path for trial in trials)
    assert whole.alive


@pytest.mark.parametrize("gain", [0.98, 0.92])
def test_one_that_is_little_slower_is_left_since_it_may_take_less_memory(gates, whole, gain):
    trials = microbatch_trials(whole, PIECES, 100, gates, gains(gain, 0.9, 0.91))
    assert [trial.alive for trial in trials] == [True, False, False]


@pytest.mark.parametrize(
    ("speed", "megabytes", "in_pieces"),
    [
        (1.2, None, True),
        (1.06, None, True),
        (0.9, None, False),
        (0.92, (1000, 501), False),
        (0.92, (1000, 500), True),
        (0.95, (1000, 600), False),
        (1.04, (1000, 800), True),
        (0.96, (1000, 257), True),
        (1.02, (1000, 801), False),
        (1.0, (90, 95), False),
    ],
)
def test_memory_decides_where_speed_does_not(speed, megabytes, in_pieces):
    whole = Trial(Candidate("dynamo"))
    pieces = Trial(Candidate("torchscript")).in_microbatches(4)
    int8 = Trial(Candidate("dynamo", precision="int8", microbatch=2))
    speeds = {whole.name: 1.0, pieces.name: speed, int8.name: min(speed, 1.0)}
    looked = []

    def taken(trial):
        looked.append(trial)
        return megabytes[trial is pieces]

    def share(one, than):
        return speeds[one.name] / speeds[than.name]

    winner = max((whole, pieces), key=lambda trial: speeds[trial.name])
    assert whole_or_in_pieces(winner, [whole, int8, pieces], share, taken) is (pieces if in_pieces else whole)
    assert bool(looked) == (megabytes is not None)


def test_where_there_are_no_pieces_nothing_is_weighed():
    whole, other = Trial(Candidate("dynamo")), Trial(Candidate("torchscript"))
    weighed = []
    assert whole_or_in_pieces(whole, [whole, other], lambda one, than: 1.0, weighed.append) is whole
    assert weighed == []


@pytest.mark.parametrize(("largest", "pieces"), [(3, []), (4, [2]), (8, [2, 4]), (31, [2, 4]), (32, [2, 4, 16])])
def test_only_pieces_of_which_the_batch_has_two_are_made(gates, whole, largest, pieces):
    trials = microbatch_trials(whole, PIECES, largest, gates, gains(1.1, 1.2, 1.3))
    assert [trial.candidate.microbatch for trial in trials] == pieces


def test_an_opset_without_such_loops_gives_no_trial(gates, tmp_path):
    old = classifier()
    old.opset_import[0].version = 12
    onnx.save(old, tmp_path / "old.onnx")
    assert (
        microbatch_trials(Trial(Candidate("tf2onnx"), path=tmp_path / "old.onnx"), PIECES, 100, gates, gains(2.0)) == []
    )


def test_pieces_that_mix_rows_otherwise_do_not_hold(gates, subject, tmp_path):
    """A graph whose answer depends on the whole batch cannot be cut: parity says so."""
    mixing = classifier()
    mixing.graph.node[-1].output[0] = "alone"
    body = "{ largest = ReduceMax<keepdims = 1>(alone) scores = Sub(alone, largest) }"
    nodes = onnx.parser.parse_graph(f"g (float[batch, 5] alone) => (float[batch, 5] scores) {body}").node
    mixing.graph.node.extend(nodes)
    made = subject(mixing)
    cases = [type(case)(case.inputs, made.run(case.inputs)) for case in subject(classifier()).cases()]
    gates = Gates(made, cases, None, tmp_path / "mixing")
    whole = gates.admit(Trial(Candidate("dynamo")), mixing)
    assert whole.alive
    assert {trial.fate for trial in microbatch_trials(whole, PIECES, 100, gates, gains(2.0, 2.0, 2.0))} >= {"parity"}
