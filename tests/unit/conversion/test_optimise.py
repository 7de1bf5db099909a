import numpy as np
import onnx

from conversion import optimise
from conversion.optimise import Pass, run_passes
from conversion.parity import Twin

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


def test_the_passes_fold_what_is_constant_and_keep_the_answer():
    model = onnx.parser.parse_model(FOLDABLE)
    model, results = run_passes(model, lambda _: None)
    assert [(r.name, r.kept) for r in results] == [("constants_as_weights", True), ("onnxslim", True)]
    assert [node.op_type for node in model.graph.node] == ["Mul"]
    assert [value.name for value in model.graph.input] == ["x"]
    assert Twin(model, 1).run({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[2, 4]]


def test_a_pass_that_breaks_parity_is_dropped_and_says_why():
    model = onnx.parser.parse_model(FOLDABLE)
    kept, results = run_passes(model, lambda changed: "y differs" if len(changed.graph.node) == 1 else None)
    assert [(r.kept, r.reason) for r in results] == [(True, ""), (False, "y differs")]
    assert len(kept.graph.node) == 3


def test_a_pass_that_raises_costs_only_itself(monkeypatch, affine):
    def broken(model):
        raise ValueError("cannot fold")

    monkeypatch.setattr(optimise, "PASSES", (Pass("broken", broken, "first"), *optimise.PASSES))
    _, results = run_passes(affine, lambda _: None)
    assert [r.kept for r in results] == [False, True, True]
    assert results[0].reason == "ValueError: cannot fold"
