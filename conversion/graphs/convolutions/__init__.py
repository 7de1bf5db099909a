"""Exact rewrites of convolutions into shapes that CPU kernels are fast at.

ONNX Runtime computes a convolution in blocks of output channels: 16 with AVX-512, 8 with AVX2 (MLAS,
`MlasNchwcGetBlockSize`). One with fewer channels is filled up with zeros, so that a filter of one channel costs as much
as sixteen; one whose input has a number of channels that is no multiple of four is unrolled into a matrix instead.
Audio nets are full of both: one filter over one channel, harmonic stacks with few.
"""

from .folding import fold_outputs
from .siblings import merge_siblings, split_concatenated
from .slices import slice_before_joining
from .stem import fold_stem

__all__ = ["fold_outputs", "fold_stem", "merge_siblings", "slice_before_joining", "split_concatenated"]
