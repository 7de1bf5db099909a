"""A graph that takes a large batch in pieces: activations stay in the processor's caches, and memory stays small.

The whole graph becomes the body of an ONNX Loop that takes so many rows at a time. What a batch needs in memory is then
what one piece needs, whatever the batch.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

from .nesting import tensor_names
from .rewrite import rename

__all__ = ["divisible", "microbatched"]

# Since then a Loop may carry sequences of tensors, which pieces of different sizes need.
_LEAST_OPSET = 13


def divisible(model: onnx.ModelProto) -> bool:
    """Whether the opset of a graph has what it takes."""
    return any(one.domain in ("", "ai.onnx") and one.version >= _LEAST_OPSET for one in model.opset_import)


def microbatched(model: onnx.ModelProto, rows: int) -> onnx.ModelProto:
    """A copy that answers the same and never has more than `rows` rows in work.

    The graph is divisible, and every input and output has the batch as its first dimension.
    """
    body = onnx.ModelProto()
    body.CopyFrom(model)
    weights = list(body.graph.initializer)
    own = {tensor.name for tensor in weights}
    inputs = _copies(value for value in model.graph.input if value.name not in own)
    outputs = _copies(model.graph.output)
    name = _Names(tensor_names(model.graph))
    rename(body, {value.name: name("piece", value) for value in (*inputs, *outputs)})
    loop = helper.make_node(
        "Loop",
        [name("count"), "", *(name("none", value) for value in outputs)],
        [name("pieces", value) for value in outputs],
        body=helper.make_graph(
            [*_cut(name, inputs), *body.graph.node, *_collect(name, outputs)],
            f"{rows} rows",
            [
                helper.make_tensor_value_info(name("number"), TensorProto.INT64, []),
                helper.make_tensor_value_info(name("going"), TensorProto.BOOL, []),
                *(_sequence(name("before", value), value) for value in outputs),
            ],
            [
                helper.make_tensor_value_info(name("on"), TensorProto.BOOL, []),
                *(_sequence(name("after", value), value) for value in outputs),
            ],
            [*weights, _constant(name("first"), [0]), _constant(name("one"), [1]), _constant(name("rows"), rows)],
        ),
    )
    graph = helper.make_graph(
        [*_count(name, inputs[0], outputs), loop, *_join(name, outputs)],
        model.graph.name,
        inputs,
        outputs,
        [
            _constant(name("batch_dimension"), 0),
            _constant(name("all_but_one"), rows - 1),
            _constant(name("rows_outside"), rows),
            _constant(name("once"), 1),
        ],
    )
    body.graph.CopyFrom(graph)
    return body


class _Names:
    """Names of new tensors, by what they are and whose; none of them is taken by the graph."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._prefix = "microbatch"
        while any(one.startswith(self._prefix) for one in taken):
            self._prefix += "_"

    def __call__(self, what: str, value: ValueInfoProto | None = None) -> str:
        return f"{self._prefix}/{what}" + (f"/{value.name}" if value is not None else "")


def _count(name: _Names, first: ValueInfoProto, outputs: Iterable[ValueInfoProto]) -> list[onnx.NodeProto]:
    """How many pieces there are, at least one, and the empty sequences that they are collected in."""
    return [
        helper.make_node("Shape", [first.name], [name("shape")]),
        helper.make_node("Gather", [name("shape"), name("batch_dimension")], [name("batch")]),
        helper.make_node("Add", [name("batch"), name("all_but_one")], [name("rounded")]),
        helper.make_node("Div", [name("rounded"), name("rows_outside")], [name("whole")]),
        helper.make_node("Max", [name("whole"), name("once")], [name("count")]),
        *(
            helper.make_node("SequenceEmpty", [], [name("none", value)], dtype=value.type.tensor_type.elem_type)
            for value in outputs
        ),
    ]


def _cut(name: _Names, inputs: Iterable[ValueInfoProto]) -> list[onnx.NodeProto]:
    """The piece of each input; Slice ends where the batch does."""
    return [
        helper.make_node("Mul", [name("number"), name("rows")], [name("offset")]),
        helper.make_node("Reshape", [name("offset"), name("one")], [name("start")]),
        helper.make_node("Add", [name("start"), name("rows")], [name("end")]),
        *(
            helper.make_node("Slice", [value.name, name("start"), name("end"), name("first")], [name("piece", value)])
            for value in inputs
        ),
    ]


def _collect(name: _Names, outputs: Iterable[ValueInfoProto]) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Identity", [name("going")], [name("on")]),
        *(
            helper.make_node("SequenceInsert", [name("before", value), name("piece", value)], [name("after", value)])
            for value in outputs
        ),
    ]


def _join(name: _Names, outputs: Iterable[ValueInfoProto]) -> list[onnx.NodeProto]:
    return [
        helper.make_node("ConcatFromSequence", [name("pieces", value)], [value.name], axis=0, new_axis=0)
        for value in outputs
    ]


def _sequence(name: str, of: ValueInfoProto) -> ValueInfoProto:
    return helper.make_tensor_sequence_value_info(name, of.type.tensor_type.elem_type, None)


def _constant(name: str, value: int | list[int]) -> TensorProto:
    return numpy_helper.from_array(np.array(value, dtype=np.int64), name)


def _copies(values: Iterable[ValueInfoProto]) -> list[ValueInfoProto]:
    copies = []
    for value in values:
        copy = ValueInfoProto()
        copy.CopyFrom(value)
        copies.append(copy)
    return copies
