from pathlib import Path

import onnx
import pytest

from conversion.errors import BrokenOnnx, FixedDimension, UnsupportedDtype, UnsupportedGraph
from conversion.graphs.graph import check_servable, describe, load_onnx, unreadable, validate_file
from conversion.interface import Facts
from conversion.targets import TARGETS

X = (Facts("x", "float32", ("batch", 4)),)
TARGET = TARGETS["24.10"]


def parse(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


def test_facts_of_a_file(affine, tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(affine, str(path))
    info = describe(load_onnx(path), path)
    assert info.inputs == X
    assert info.outputs == (Facts("y", "float32", ("batch", 4)),)
    assert info.operators == {"Mul": 1, "Relu": 1}
    assert (info.parameters, info.opsets, info.bytes) == (4, {"ai.onnx": 18}, path.stat().st_size)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x09"], ids=["empty", "text", "no graph"])
def test_a_broken_file_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(BrokenOnnx, match="is not a valid ONNX model") as caught:
        validate_file(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BrokenOnnx, match=r"net\.onnx"):
        load_onnx(tmp_path / "net.onnx")


def test_a_valid_file_passes(affine, tmp_path):
    onnx.save(affine, str(tmp_path / "net.onnx"))
    assert validate_file(tmp_path / "net.onnx").graph.name == "affine"


def test_a_servable_graph_passes(affine):
    check_servable(affine, X, True, TARGET)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ("fixed_input", FixedDimension, "dimension 'batch' of tensor 'x' is fixed, [1, 4], and must be dynamic"),
        ("fixed_output", FixedDimension, "dimension 'batch' of tensor 'y' is fixed"),
        ("domain", UnsupportedGraph, "operator Mul of com.microsoft is none of ONNX's own"),
        (
            "opset",
            UnsupportedGraph,
            "opset 24 of ai.onnx is above 21, the highest that Triton 24.10 (ONNX Runtime 1.19.2) reads",
        ),
        ("ir", UnsupportedGraph, "IR 11 is above 10, the highest that Triton 24.10 (ONNX Runtime 1.19.2) reads"),
        ("dtype", UnsupportedDtype, "tensor 'y' has dtype bfloat16"),
        ("dropped", UnsupportedGraph, "dropped input 'x'"),
    ],
)
def test_what_cannot_be_served_is_refused(affine, change, error, sentence):
    graph = affine.graph
    match change:
        case "fixed_input":
            graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
        case "fixed_output":
            graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
        case "domain":
            graph.node[0].domain = "com.microsoft"
        case "opset":
            affine.opset_import[0].version = 24
        case "ir":
            affine.ir_version = 11
        case "dtype":
            graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.BFLOAT16
        case "dropped":
            del graph.input[:]
    with pytest.raises(error) as caught:
        check_servable(affine, X, True, TARGET)
    assert sentence in str(caught.value)


def test_operators_inside_branches_count():
    model = parse(
        """
        <ir_version: 9, opset_import: ["" : 18, "com.microsoft" : 1]>
        g (bool c, float[batch, 4] x) => (float[batch, 4] y) {
          y = If (c) <
            then_branch = t () => (float[batch, 4] r) { r = com.microsoft.Gelu(x) },
            else_branch = e () => (float[batch, 4] s) { s = Identity(x) }
          >
        }
        """
    )
    with pytest.raises(UnsupportedGraph, match=r"operator Gelu of com\.microsoft"):
        check_servable(model, X, True, TARGET)


FUNCTION = """
<ir_version: {ir}, opset_import: ["" : 18, "own" : 1{ml}]>
g (float[batch, 4] x) => (float[batch, 4] y) {{ y = own.twice(x) }}
<domain: "own", opset_import: ["" : {opset}]>
twice (a) => (b) {{ b = Add(a, a) }}
"""


@pytest.mark.parametrize(
    ("ir", "ml", "opset", "found"),
    [
        (8, "", 18, []),
        (7, "", 18, ["it has functions of its own, which need IR 8, and says IR 7"]),
        (8, "", 22, ["opset 22 of ai.onnx is above 21"]),
        (8, ', "ai.onnx.ml" : 6', 18, ["opset 6 of ai.onnx.ml is above 5"]),
        (11, ', "ai.onnx.ml" : 6', 22, ["IR 11 is above 10", "opset 22 of ai.onnx", "opset 6 of ai.onnx.ml"]),
    ],
)
def test_everything_that_a_target_could_not_read_is_told_at_once(ir, ml, opset, found):
    sentences = unreadable(parse(FUNCTION.format(ir=ir, ml=ml, opset=opset)), TARGET)
    assert len(sentences) == len(found)
    for sentence, start in zip(sentences, found, strict=True):
        assert sentence.startswith(start)


def test_a_newer_target_reads_what_an_older_one_does_not(affine):
    affine.ir_version, affine.opset_import[0].version = 11, 23
    assert len(unreadable(affine, TARGET)) == 2
    assert unreadable(affine, TARGETS["25.11"]) == []


def test_a_conformance_graph_with_a_sequence_is_described_as_such():
    path = Path("tests/conformance/repository/a08_auto_seqtype/1/model.onnx")
    assert describe(load_onnx(path)).outputs[0].dtype == "sequence"
