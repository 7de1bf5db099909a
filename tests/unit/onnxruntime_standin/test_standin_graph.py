"""Reading a graph's signature and finding its file."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from python_backend.onnxruntime.dtypes import INVALID, SUPPORTED, config_type
from python_backend.onnxruntime.errors import GraphRefused
from python_backend.onnxruntime.graph import GraphTensor, find_graph, read_graph


def node(name: str, kind: str, *shape: int | str | None) -> SimpleNamespace:
    return SimpleNamespace(name=name, type=kind, shape=list(shape))


def session(inputs=(), outputs=(), overridable=()) -> SimpleNamespace:
    return SimpleNamespace(
        get_inputs=lambda: list(inputs),
        get_outputs=lambda: list(outputs),
        get_overridable_initializers=lambda: list(overridable),
    )


def test_named_and_unknown_dimensions_are_dynamic() -> None:
    graph = read_graph(session([node("x", "tensor(float)", "N", 16, None)], [node("y", "tensor(string)")]))
    assert graph.inputs == {"x": GraphTensor("x", "TYPE_FP32", (-1, 16, -1))}
    assert graph.outputs == {"y": GraphTensor("y", "TYPE_STRING", ())}


def test_a_graph_batches_when_every_input_and_output_starts_with_a_dynamic_dimension() -> None:
    x, y = node("x", "tensor(float)", "N", 2), node("y", "tensor(float)", "N")
    assert read_graph(session([x], [y])).batches
    assert not read_graph(session([x], [node("y", "tensor(float)", 4)])).batches
    assert not read_graph(session([x, node("s", "tensor(float)")], [y])).batches
    assert read_graph(session([x], [y], [node("w", "tensor(float)", 3)])).batches, "a default need not batch"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("seq(tensor(float))", "ONNX_TYPE_SEQUENCE"),
        ("map(int64,tensor(float))", "ONNX_TYPE_MAP"),
        ("optional(tensor(float))", "ONNX_TYPE_OPTIONAL"),
        ("sparse_tensor(float)", "ONNX_TYPE_SPARSETENSOR"),
    ],
)
def test_what_is_no_tensor_is_refused_in_the_cpp_backends_words(kind: str, name: str) -> None:
    with pytest.raises(GraphRefused, match=f"Unsupported ONNX Type '{name}' for I/O 'y', expected 'ONNX_TYPE_TENSOR'"):
        read_graph(session([node("x", "tensor(float)", 1)], [node("y", kind)]))


def test_every_type_that_triton_carries_has_one_name_and_bfloat16_none() -> None:
    assert len(SUPPORTED) == 13
    assert config_type("tensor(float16)") == "TYPE_FP16"
    for kind in ("tensor(bfloat16)", "tensor(complex64)", "tensor(float8e4m3fn)"):
        assert config_type(kind) == INVALID


def test_the_file_is_the_named_one_or_model_onnx_in_a_directory_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"")
    assert find_graph(tmp_path, "net.onnx") == tmp_path / "net.onnx"
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(GraphRefused, match="unable to find"):
        find_graph(tmp_path, "")
    (tmp_path / "model.onnx" / "model.onnx").write_bytes(b"")
    assert find_graph(tmp_path, "") == tmp_path / "model.onnx" / "model.onnx"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GraphRefused, match=rf"failed to stat file {tmp_path}/model\.onnx"):
        find_graph(tmp_path, "")
