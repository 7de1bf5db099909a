"""Look at an ONNX graph: what it takes, what it gives, what it is made of, and whether a server can read it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from ..dtypes import DTYPES, by_onnx
from ..errors import BrokenOnnx, FixedDimension, UnsupportedDtype, UnsupportedGraph
from ..interface import BATCH, Facts
from ..targets import Target
from .nesting import all_graphs

__all__ = [
    "GraphInfo",
    "check_servable",
    "describe",
    "load_onnx",
    "tensor_facts",
    "unreadable",
    "validate_file",
]

# Operators of the standard; anything else is a contrib operator that another build of ONNX Runtime may lack.
_PORTABLE = frozenset({"", "ai.onnx", "ai.onnx.ml"})
# A model has functions of its own from this IR on.
_IR_OF_FUNCTIONS = 8


@dataclass(frozen=True)
class GraphInfo:
    """The facts of an ONNX file: nodes and parameters with those of inner graphs, `bytes` with sidecars."""

    ir_version: int
    opsets: dict[str, int]
    producer: str
    inputs: tuple[Facts, ...]
    outputs: tuple[Facts, ...]
    nodes: int
    operators: dict[str, int]
    parameters: int
    bytes: int


def load_onnx(path: Path, weights: bool = True) -> onnx.ModelProto:
    """Read a file, with its external data unless `weights` is false. Raises BrokenOnnx."""
    try:
        return onnx.load(str(path), load_external_data=weights)
    except (OSError, DecodeError, ValueError, onnx.checker.ValidationError) as error:
        raise BrokenOnnx(path, str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def validate_file(path: Path) -> onnx.ModelProto:
    """Check a file by the standard's own checker and let ONNX Runtime load it. Raises BrokenOnnx."""
    import onnxruntime

    model = load_onnx(path)
    try:
        onnx.checker.check_model(str(path))
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    # ONNX Runtime's classes come from C++ and share no base but Exception.
    except Exception as error:
        raise BrokenOnnx(path, str(error).splitlines()[0]) from error
    return model


def describe(model: onnx.ModelProto, path: Path | None = None) -> GraphInfo:
    """The facts of a model (and of the size of its files, where `path` is given)."""
    initializers = {tensor.name for tensor in model.graph.initializer}
    sizes = 0
    if path is not None:
        names = {path.name} | {
            entry.value
            for tensor in _weights(onnx.load(str(path), load_external_data=False))
            for entry in tensor.external_data
            if entry.key == "location"
        }
        sizes = sum((path.parent / name).stat().st_size for name in names)
    nodes = [node for graph in all_graphs(model.graph) for node in graph.node]
    return GraphInfo(
        ir_version=model.ir_version,
        opsets={opset.domain or "ai.onnx": opset.version for opset in model.opset_import},
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        inputs=tuple(tensor_facts(value) for value in model.graph.input if value.name not in initializers),
        outputs=tuple(tensor_facts(value) for value in model.graph.output),
        nodes=len(nodes),
        operators=dict(Counter(node.op_type for node in nodes).most_common()),
        parameters=sum(math.prod(tensor.dims) for tensor in _weights(model)),
        bytes=sizes,
    )


def tensor_facts(value: onnx.ValueInfoProto) -> Facts:
    """Name, dtype and shape of a graph's input or output. Dimensions without a name are called NAME_AXIS."""
    tensor = value.type.tensor_type
    dtype = by_onnx(tensor.elem_type)
    shape = tuple(
        int(d.dim_value) if d.HasField("dim_value") else (d.dim_param or f"{value.name}_{axis}")
        for axis, d in enumerate(tensor.shape.dim)
    )
    kind = value.type.WhichOneof("value")
    name = dtype.name if dtype else onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    return Facts(value.name, name if kind == "tensor_type" else str(kind).removesuffix("_type"), shape)


def unreadable(model: onnx.ModelProto, target: Target) -> list[str]:
    """All that keeps the target's ONNX Runtime from reading a graph: IR, opsets, operators; a sentence for each."""
    runtime, found = target.runtime, []
    if model.ir_version > runtime.ir:
        found.append(f"IR {model.ir_version} is above {runtime.ir}, the highest that {target} reads")
    if model.functions and model.ir_version < _IR_OF_FUNCTIONS:
        found.append(f"it has functions of its own, which need IR {_IR_OF_FUNCTIONS}, and says IR {model.ir_version}")
    highest = {"": runtime.opset, "ai.onnx": runtime.opset, "ai.onnx.ml": runtime.ml_opset}
    imports = {(o.domain, o.version) for holder in (model, *model.functions) for o in holder.opset_import}
    for domain, version in sorted(imports):
        if version > highest.get(domain, version):
            found.append(
                f"opset {version} of {domain or 'ai.onnx'} is above {highest[domain]}, the highest that {target} "
                "reads; lower opset in [export]"
            )
    own = {(function.domain, function.name) for function in model.functions}
    foreign = {(node.domain, node.op_type) for node in _nodes(model) if node.domain not in _PORTABLE} - own
    found += [
        f"operator {operator} of {domain} is none of ONNX's own, and a plain ONNX Runtime may lack it"
        for domain, operator in sorted(foreign)
    ]
    return found


def check_servable(model: onnx.ModelProto, inputs: Sequence[Facts], batched: bool, target: Target) -> None:
    """Refuse what the ONNX Runtime backend of `target` could not serve as the spec asks.

    Raises UnsupportedDtype, FixedDimension, UnsupportedGraph.
    """
    if refusals := unreadable(model, target):
        raise UnsupportedGraph("; ".join(refusals))
    found = {value.name: tensor_facts(value) for value in model.graph.input}
    for fact in inputs:
        graph = found.get(fact.name)
        if graph is None:
            raise UnsupportedGraph(f"the export dropped input '{fact.name}', which no output depends on; remove it")
        for wanted, size in zip(fact.shape, graph.shape, strict=True):
            if isinstance(wanted, str) and isinstance(size, int):
                raise FixedDimension(fact.name, wanted, graph.shape)
    for value in model.graph.output:
        graph = tensor_facts(value)
        if graph.dtype not in DTYPES:
            raise UnsupportedDtype(graph.name, graph.dtype, DTYPES)
        if batched and (not graph.shape or isinstance(graph.shape[0], int)):
            raise FixedDimension(graph.name, BATCH, graph.shape)


def _weights(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    return [tensor for graph in all_graphs(model.graph) for tensor in graph.initializer]


def _nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    inner = [node for function in model.functions for node in function.node]
    return inner + [node for graph in all_graphs(model.graph) for node in graph.node]
