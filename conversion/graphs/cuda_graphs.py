"""Which graphs may run as CUDA graphs: those of operators alone that never look at values on the host.

ONNX Runtime refuses what it sees, `If`, `Loop` and tensors that travel to the host. It does not see an operator that
reads back how large its output is, as `NonZero` does. While a graph is captured nothing is computed that could be read:
the operator takes what lies in memory for a size, and an illegal access ends CUDA for the whole process.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["CAPTURABLE", "capturable"]

_ELEMENT_WISE = """
    Abs Add And BitShift Cast Ceil Celu Clip Cos Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid
    HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow
    Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt Sub Sum Swish Tanh ThresholdedRelu Where Xor
"""
_JOINING = """
    ArgMax ArgMin AveragePool BatchNormalization Conv ConvTranspose CumSum DequantizeLinear Dropout Einsum Gemm
    GlobalAveragePool GlobalLpPool GlobalMaxPool GroupNormalization InstanceNormalization LRN LayerNormalization
    LogSoftmax LpNormalization LpPool MatMul MaxPool MeanVarianceNormalization QuantizeLinear RMSNormalization
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
    Resize Softmax TopK
"""
_MOVING = """
    Concat Constant ConstantOfShape DepthToSpace Expand Flatten Gather GatherElements GatherND Pad Range Reshape Shape
    Size Slice SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze
"""
CAPTURABLE = frozenset(f"{_ELEMENT_WISE} {_JOINING} {_MOVING}".split())


def capturable(operators: Iterable[str]) -> bool:
    """Whether a graph of these operators may be captured: not with one that is unknown here, nor if none is told."""
    told = set(operators)
    return bool(told) and told <= CAPTURABLE
