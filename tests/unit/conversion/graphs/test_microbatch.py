import numpy as np
import onnx
import pytest

from conversion.graphs.graph import describe
from conversion.graphs.microbatch import divisible, microbatched
from conversion.graphs.nesting import all_graphs, tensor_names
from conversion.graphs.rewrite import declare, save
from conversion.interface import Facts
from conversion.proof.parity import Twin
from conversion.targets import TARGETS

# Two inputs, two outputs of two dtypes, a weight, and a tensor by the name that new ones would take.
PAIR = """
<ir_version: 9, opset_import: ["" : 18]>
pair (float[batch, 3] x, int64[batch] n) => (float[batch, 2] y, int64[batch] next)
<float[3, 2] w = {1, 2, 3, 4, 5, 6}, int64[1] one = {1}>
{
  microbatch_start = MatMul(x, w)
  y = Relu(microbatch_start)
  next = Add(n, one)
}
"""


@pytest.fixture
def pair():
    return onnx.parser.parse_model(PAIR)


def arrays(rows):
    rng = np.random.default_rng(rows)
    return {"x": rng.standard_normal((rows, 3)).astype(np.float32), "n": np.arange(rows)}


@pytest.mark.parametrize("rows", [0, 1, 3, 4, 5, 8, 11])
def test_every_batch_gets_the_whole_graphs_answer(pair, rows):
    whole, pieces = Twin(pair, 1).run(arrays(rows)), Twin(microbatched(pair, 4), 1).run(arrays(rows))
    assert pieces.keys() == whole.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(pieces[name], value)
        assert pieces[name].dtype == value.dtype


def test_no_more_rows_than_asked_for_are_in_work(pair):
    """A graph that tells how many rows it sees."""
    model = onnx.parser.parse_model(
        """
        <ir_version: 9, opset_import: ["" : 18]>
        seen (float[batch, 1] x) => (int64[batch] rows) { s = Shape<start = 0, end = 1>(x) rows = Expand(s, s) }
        """
    )
    seen = Twin(microbatched(model, 4), 1).run({"x": np.zeros((10, 1), np.float32)})["rows"]
    assert seen.tolist() == [4] * 8 + [2] * 2


def test_the_graph_is_valid_keeps_its_interface_and_leaves_the_first_one_alone(pair):
    before = pair.SerializeToString()
    made = microbatched(pair, 4)
    onnx.checker.check_model(made, full_check=True)
    assert pair.SerializeToString() == before
    assert (list(made.graph.input), list(made.graph.output)) == (list(pair.graph.input), list(pair.graph.output))
    assert (made.ir_version, made.opset_import) == (pair.ir_version, pair.opset_import)
    assert sum(len(graph.node) for graph in all_graphs(made.graph)) > len(made.graph.node)
    assert "w" in tensor_names(made.graph)


def test_a_graph_in_pieces_can_be_cut_again(pair):
    twice = microbatched(microbatched(pair, 4), 3)
    onnx.checker.check_model(twice, full_check=True)
    np.testing.assert_array_equal(Twin(twice, 1).run(arrays(11))["y"], Twin(pair, 1).run(arrays(11))["y"])


def test_weights_that_are_listed_as_inputs_are_not_cut(pair):
    pair.graph.input.append(onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [3, 2]))
    made = microbatched(pair, 4)
    assert [value.name for value in made.graph.input] == ["x", "n"]
    np.testing.assert_array_equal(Twin(made, 1).run(arrays(9))["y"], Twin(pair, 1).run(arrays(9))["y"])


def test_its_facts_count_what_is_inside_and_its_sidecar(pair, tmp_path):
    made = microbatched(pair, 4)
    declare(made, [Facts("x", "float32", ("batch", 3)), Facts("n", "int64", ("batch",))], True, TARGETS["24.10"])
    save(made, tmp_path / "model.onnx", external_data=True)
    facts = describe(onnx.load(tmp_path / "model.onnx"), tmp_path / "model.onnx")
    assert facts.operators["MatMul"] == 1
    assert facts.parameters >= 6
    assert facts.bytes == sum(file.stat().st_size for file in tmp_path.iterdir())
    np.testing.assert_array_equal(Twin(str(tmp_path / "model.onnx"), 1).run(arrays(5))["next"], np.arange(1, 6))


@pytest.mark.parametrize(("opset", "holds"), [(12, False), (13, True), (20, True)])
def test_it_takes_an_opset_whose_loops_carry_sequences(pair, opset, holds):
    pair.opset_import[0].version = opset
    assert divisible(pair) is holds
