"""Graph optimisation that any ONNX Runtime can read: an ordered list of passes, each kept only if parity holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx

__all__ = ["PASSES", "Pass", "PassResult", "run_passes"]


@dataclass(frozen=True)
class Pass:
    """A named change of a graph, and why it stands where it does in the order."""

    name: str
    apply: Callable[[onnx.ModelProto], onnx.ModelProto]
    why_here: str


@dataclass(frozen=True)
class PassResult:
    """What became of a pass: its effect on the number of nodes, or why it was dropped."""

    name: str
    kept: bool
    nodes_before: int
    nodes_after: int
    reason: str = ""


def _constants_as_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Initializers that are listed as inputs could be overridden by a caller, which blocks every folding."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    weights = {tensor.name for tensor in changed.graph.initializer}
    kept = [value for value in changed.graph.input if value.name not in weights]
    del changed.graph.input[:]
    changed.graph.input.extend(kept)
    return changed


def _slim(model: onnx.ModelProto) -> onnx.ModelProto:
    """Constant folding, shape inference, dead code, and fusions into standard operators, by onnxslim."""
    import onnxslim

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    slimmed: onnx.ModelProto = onnxslim.slim(changed, model_check=False)
    return slimmed


PASSES = (
    Pass("constants_as_weights", _constants_as_weights, "first: the simplifier folds only what is a constant"),
    Pass("onnxslim", _slim, "second: it removes what the exporter left, once everything constant is known to be"),
)


def run_passes(
    model: onnx.ModelProto, check: Callable[[onnx.ModelProto], str | None]
) -> tuple[onnx.ModelProto, tuple[PassResult, ...]]:
    """Apply each pass to the last graph that held. `check` gives the reason why a graph does not hold, or None."""
    results = []
    for step in PASSES:
        before = len(model.graph.node)
        try:
            changed = step.apply(model)
            reason = check(changed)
        # A simplifier that fails on a graph costs that graph its simplification, never the release.
        except Exception as error:  # noqa: BLE001
            results.append(PassResult(step.name, False, before, before, f"{type(error).__name__}: {error}"[:300]))
            continue
        if reason is None:
            results.append(PassResult(step.name, True, before, len(changed.graph.node)))
            model = changed
        else:
            results.append(PassResult(step.name, False, before, len(changed.graph.node), reason))
    return model, tuple(results)
