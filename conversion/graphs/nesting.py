"""Graphs within graphs: the bodies of loops and branches, which hold nodes and weights as well."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

__all__ = ["all_graphs", "tensor_names"]


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph itself, and every graph that an attribute of its nodes holds, at any depth."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs
            for one in inner:
                yield from all_graphs(one)


def tensor_names(graph: onnx.GraphProto) -> set[str]:
    """Every name that a tensor has, in inner graphs too."""
    found: set[str] = set()
    for one in all_graphs(graph):
        found.update(v.name for v in (*one.input, *one.output, *one.initializer))
        for node in one.node:
            found.update(node.input, node.output)
    return found
