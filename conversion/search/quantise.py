"""Eight-bit twins by ONNX Runtime's own quantiser: static with calibrated ranges (QDQ, per channel), or dynamic."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from ..proof.samples import Batch

__all__ = ["CALIBRATIONS", "Quantiser", "multiplying_share", "quantise_dynamic"]

# In the order in which they are tried: the plain range keeps rare large values, the others cut them off.
CALIBRATIONS = ("minmax", "percentile", "entropy")
# What is worth 8 bits. Everything between them follows, so that nothing is converted there and back.
_OPERATORS = ("Conv", "MatMul", "Gemm")
_MULTIPLY = ("MatMul", "Gemm")


class Quantiser:
    """Quantises one float graph. Ranges are computed once for each calibration, whatever layers are then chosen.

    `folder` holds the ranges and the scratch files.
    """

    def __init__(self, graph: Path, samples: Sequence[Batch], folder: Path) -> None:
        from onnxruntime.quantization.shape_inference import quant_pre_process

        self._samples = samples
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._graph = folder / "prepared.onnx"
        with _quiet():
            # Symbolic shapes come from onnx alone: the other inference fails on many graphs.
            quant_pre_process(str(graph), str(self._graph), skip_symbolic_shape=True, skip_optimization=True)

    @property
    def layers(self) -> list[str]:
        """The names of the layers that can be quantised, in the graph's order."""
        return [node.name for node in onnx.load(self._graph).graph.node if node.op_type in _OPERATORS]

    def quantise(self, calibration: str, kept_fp32: Iterable[str], target: Path, only: str | None = None) -> None:
        """Write the graph with the ranges of `calibration`; `kept_fp32` layers stay as they are, or all but `only`."""
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        method = {
            "minmax": CalibrationMethod.MinMax,
            "percentile": CalibrationMethod.Percentile,
            "entropy": CalibrationMethod.Entropy,
        }[calibration]
        with _quiet():
            quantize_static(
                str(self._graph),
                str(target),
                _Reader(self._samples),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                # Unsigned activations and signed weights are what AVX-512 VNNI multiplies.
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=method,
                op_types_to_quantize=_op_types(self._graph) if only is None else list(_OPERATORS),
                nodes_to_quantize=[only] if only else None,
                nodes_to_exclude=list(kept_fp32),
                calibration_cache_path=self._folder / f"ranges-{calibration}.json",
            )


def quantise_dynamic(graph: Path, target: Path) -> None:
    """Weights in 8 bits, activations quantised as they come: for nets that mostly multiply matrices."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(
            str(graph), str(target), op_types_to_quantize=list(_MULTIPLY), per_channel=True, weight_type=QuantType.QInt8
        )


def multiplying_share(model: onnx.ModelProto) -> float:
    """The part of all weights, 0 to 1, that matrix products use."""
    sizes = {tensor.name: _count(tensor) for tensor in model.graph.initializer}
    total = sum(sizes.values())
    used = sum(sizes.get(name, 0) for node in model.graph.node if node.op_type in _MULTIPLY for name in node.input)
    return used / total if total else 0.0


class _Reader:
    """One row at a time, as the quantiser wants it."""

    def __init__(self, samples: Sequence[Batch]) -> None:
        self._rows: Iterator[dict[str, NDArray[Any]]] = iter(samples)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._rows, None)


def _op_types(graph: Path) -> list[str]:
    """The layers, and what may lie between two of them in 8 bits."""
    between = ("Add", "Concat", "MaxPool", "GlobalAveragePool", "AveragePool", "Clip", "Relu", "Reshape", "Transpose")
    present = {node.op_type for node in onnx.load(graph, load_external_data=False).graph.node}
    return [name for name in (*_OPERATORS, *between) if name in present]


def _count(tensor: onnx.TensorProto) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser advises on standard output and through the root logger."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
