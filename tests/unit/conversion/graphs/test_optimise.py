import numpy as np
import onnx
import pytest

from conversion.graphs.optimise import REWRITES
from conversion.proof.parity import Twin

FOLDABLE = """
<ir_version: 9, opset_import: ["" : 18]>
g (float[batch, 2] x, float[2] w) => (float[batch, 2] y)
<float[2] w = {1, 2}>
{
  doubled = Add(w, w)
  kept = Identity(doubled)
  y = Mul(x, kept)
}
"""


def test_onnxslim_folds_what_is_constant_even_where_a_weight_could_be_overridden():
    model = REWRITES[0].apply(onnx.parser.parse_model(FOLDABLE))
    assert [node.op_type for node in model.graph.node] == ["Mul"]
    assert [value.name for value in model.graph.input] == ["x"]


@pytest.mark.parametrize("rewrite", REWRITES, ids=lambda rewrite: rewrite.name)
def test_a_rewrite_gives_a_changed_copy_that_answers_the_same(rewrite):
    model = onnx.parser.parse_model(FOLDABLE)
    before = model.SerializeToString()
    changed = rewrite.apply(model)
    assert model.SerializeToString() == before
    # A model of its own stands in for the exporter's: ONNX Runtime asks for every input that is listed.
    feeds = {"x": np.array([[1, 3]], np.float32)}
    listed = {value.name for value in changed.graph.input}
    answer = Twin(changed, 1).run(feeds if "w" not in listed else feeds | {"w": np.array([1, 2], np.float32)})
    assert answer["y"].tolist() == [[2, 12]]


def test_every_level_that_is_searched_simplifies():
    assert [rewrite.name for rewrite in REWRITES if "off" in rewrite.levels] == ["onnxslim"]
    assert {level for rewrite in REWRITES for level in rewrite.levels} == {"off", "fast", "full"}
