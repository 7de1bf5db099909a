"""Graph optimisation that any ONNX Runtime can read: an ordered list of rewrites, each a candidate of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx

from .convolutions import fold_outputs, fold_stem, merge_siblings, slice_before_joining, split_concatenated
from .rewrite import save

__all__ = ["REWRITES", "STEM", "Rewrite"]

# A rewrite that mostly pays in 8 bits, whatever it does to the float graph.
STEM = "stem"


@dataclass(frozen=True)
class Rewrite:
    """A named change of a graph that keeps its answers, the search levels that try it, and why it stands where it does.

    `apply` gives a changed copy. `for_cpu` are those that suit the kernels of a CPU and are tried for it alone.
    """

    name: str
    apply: Callable[[onnx.ModelProto], onnx.ModelProto]
    levels: tuple[str, ...]
    why_here: str
    for_cpu: bool = False


def _slim(model: onnx.ModelProto) -> onnx.ModelProto:
    """Constant folding, shape inference, dead code, and fusions into standard operators, by onnxslim."""
    import onnxslim

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    # Weights that are listed as inputs could be overridden by a caller, which blocks every folding.
    weights = {tensor.name for tensor in changed.graph.initializer}
    inputs = [value for value in changed.graph.input if value.name not in weights]
    del changed.graph.input[:]
    changed.graph.input.extend(inputs)
    slimmed: onnx.ModelProto = onnxslim.slim(changed, model_check=False)
    return slimmed


def _convolutions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convolutions with few channels, and what they are fed with, in shapes that CPU kernels are fast at."""
    return fold_outputs(split_concatenated(merge_siblings(slice_before_joining(model))))


def _runtime_basic(model: onnx.ModelProto) -> onnx.ModelProto:
    """ONNX Runtime's own optimiser at the level whose results are standard operators."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "source.onnx", Path(scratch) / "target.onnx"
        save(model, source)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        return onnx.load(target)


REWRITES = (
    Rewrite("onnxslim", _slim, ("off", "fast", "full"), "first: what follows looks for weights that are constants"),
    Rewrite(
        "convolutions", _convolutions, ("fast", "full"), "second: it needs the shapes that are known by then", True
    ),
    Rewrite(STEM, fold_stem, ("fast", "full"), "third: what it changes is a layout that others would not know", True),
    Rewrite("ort_basic", _runtime_basic, ("full",), "last: it folds what the others have left"),
)
