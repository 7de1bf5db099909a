"""Branches of Python in a PyTorch model, of which a graph keeps one side: found where an exporter meets them."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import BranchBaked
from ..interface import BATCH, Facts

__all__ = ["edges", "refusing_branches"]

# Sizes beyond this are not tried: what attention takes grows with their square.
_LARGEST = 8192
# Below this every export is bounded: it takes sizes of 0 and 1 for special ones.
_USUAL_LEAST = 2


def edges(program: Any, inputs: Sequence[Facts]) -> list[dict[str, int]]:
    """The first size past each bound that dynamo found of dynamic dimensions, by the dimension's name.

    `program` is a torch.export.ExportedProgram. A bound may be the model's own, as a table of positions has it, or that
    of a branch on the size: then the original answers past it, and the graph holds one side alone. Dimensions that have
    to be of one size go past it together, whatever they are called.
    """
    placeholders = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    alike: dict[Any, list[str]] = {}
    for fact, name in zip(inputs, program.graph_signature.user_inputs, strict=False):
        sizes = getattr(placeholders.get(name), "shape", ())
        for dimension, size in zip(fact.shape, sizes, strict=False):
            symbol = getattr(getattr(size, "node", None), "expr", None)
            if symbol in program.range_constraints and isinstance(dimension, str) and dimension != BATCH:
                alike.setdefault(symbol, []).append(dimension)
    found: list[dict[str, int]] = []
    for symbol, dimensions in alike.items():
        limits = program.range_constraints[symbol]
        if limits.upper < _LARGEST:
            found.append(dict.fromkeys(dimensions, int(limits.upper) + 1))
        if limits.lower > _USUAL_LEAST:
            found.append(dict.fromkeys(dimensions, int(limits.lower) - 1))
    return [one for number, one in enumerate(found) if one not in found[:number]]


def refusing_branches(inputs: int) -> Any:
    """A context in which tracing raises BranchBaked where Python takes a number out of the values of the inputs.

    A trace keeps what was done for its own inputs. Numbers out of their shapes alone are left to parity, which varies
    sizes, one against another too; those out of weights never change; those that PyTorch's own layers take are known to
    exporters. `inputs` counts the inputs. PyTorch's tracer has no public way to ask where a value is from.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    tensor = torch.Tensor
    leaving = {getattr(tensor, name) for name in ("__bool__", "__int__", "__float__", "__index__", "item", "tolist")}

    class Refusing(TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if (
                func in leaving
                and torch.jit.is_tracing()
                and _of_values(torch, args[0], inputs)
                and (place := _place())
            ):
                raise BranchBaked(place)
            return func(*args, **(kwargs or {}))

    return Refusing()


def _of_values(torch: Any, tensor: Any, inputs: int) -> bool:
    """Whether a traced tensor depends on the values of one of the first inputs of its graph."""
    graph = torch._C._get_tracing_state().graph()
    given = {value.debugName() for value in list(graph.inputs())[:inputs]}
    queue, seen = [torch._C._get_value_trace(tensor)], set[str]()
    while queue:
        value = queue.pop()
        if value.debugName() in given:
            return True
        if value.debugName() not in seen and value.node().kind() not in ("prim::Param", "aten::size", "aten::numel"):
            queue += value.node().inputs()
        seen.add(value.debugName())
    return False


def _place() -> str:
    """The line of the model's code that is being run, or nothing where that is PyTorch's own, which exporters know."""
    frame = next(frame for frame in reversed(traceback.extract_stack()) if frame.filename != __file__)
    return "" if "/torch/" in frame.filename else f"{Path(frame.filename).name}:{frame.lineno}, `{frame.line}`"
