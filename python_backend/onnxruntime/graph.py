"""The inputs and outputs of an ONNX graph, as far as Triton cares about them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .dtypes import config_type
from .errors import GraphRefused

DYNAMIC = -1


@dataclass(frozen=True)
class GraphTensor:
    """One input or output: its data_type as in config.pbtxt, and its shape with -1 for a dynamic dimension."""

    name: str
    data_type: str
    shape: tuple[int, ...]

    @property
    def batches(self) -> bool:
        """Whether the first dimension can be Triton's batch."""
        return bool(self.shape) and self.shape[0] == DYNAMIC


@dataclass(frozen=True)
class Graph:
    """A graph's signature, each part in the graph's order. Overridable initializers are inputs that have a default."""

    inputs: dict[str, GraphTensor]
    outputs: dict[str, GraphTensor]
    overridable: dict[str, GraphTensor]

    @property
    def batches(self) -> bool:
        """Whether Triton may batch: every input and every output starts with a dynamic dimension."""
        return all(tensor.batches for tensor in (*self.inputs.values(), *self.outputs.values()))


def read_graph(session: Any) -> Graph:
    """The signature of an onnxruntime.InferenceSession. Raises GraphRefused for one that is not all plain tensors."""
    return Graph(
        _tensors(session.get_inputs()),
        _tensors(session.get_outputs()),
        _tensors(session.get_overridable_initializers()),
    )


def _tensors(nodes: Iterable[Any]) -> dict[str, GraphTensor]:
    tensors = {}
    for node in nodes:
        container = node.type.partition("(")[0]
        if container != "tensor":
            raise GraphRefused(
                f"Unsupported ONNX Type 'ONNX_TYPE_{_CONTAINER.get(container, container.upper())}' for I/O "
                f"'{node.name}', expected 'ONNX_TYPE_TENSOR'."
            )
        shape = tuple(size if isinstance(size, int) and size >= 0 else DYNAMIC for size in node.shape)
        tensors[node.name] = GraphTensor(node.name, config_type(node.type), shape)
    return tensors


_CONTAINER = {"seq": "SEQUENCE", "sparse_tensor": "SPARSETENSOR"}


def find_graph(version_directory: Path, filename: str) -> Path:
    """The ONNX file of a version: `filename`, or model.onnx inside a directory of that name. Raises GraphRefused."""
    path = version_directory / (filename or "model.onnx")
    if not path.exists():
        raise GraphRefused(f"failed to stat file {path}: there is no such file")
    if path.is_dir():
        path = path / "model.onnx"
        if not path.exists():
            raise GraphRefused(f"unable to find '{path}'")
    return path
