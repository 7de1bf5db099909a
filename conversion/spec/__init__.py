"""`model.toml` as frozen dataclasses. docs/model-toml.md describes every key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .serving import ServingSpec

__all__ = [
    "AccuracySpec",
    "EXPORTERS",
    "ExportSpec",
    "InputSpec",
    "LEVELS",
    "ModelSpec",
    "OutputSpec",
    "PRECISIONS",
    "ParitySpec",
    "SamplesSpec",
    "SearchSpec",
    "SourceSpec",
    "TWINS",
    "ToleranceSpec",
]

# The formats of an original, and the exporters that can convert each, in the order in which they are tried.
# dynamo comes first: it keeps dynamic shapes by reasoning, where tracing keeps them by luck.
EXPORTERS = {
    "keras": ("tf2onnx",),
    "saved_model": ("tf2onnx",),
    "torch_module": ("dynamo", "torchscript"),
    "torchscript": ("torchscript",),
    "exported_program": ("dynamo",),
}

# How much is tried: nothing but a graph that holds, what wins most often, or everything that fits the model.
LEVELS = ("off", "fast", "full")
# What is tried on each profile; the first is every graph's own.
PRECISIONS = {"cpu": ("fp32", "int8", "int8_dynamic"), "gpu": ("fp32", "tf32", "fp16")}
TWINS = ("onnx", "original")


@dataclass(frozen=True)
class SourceSpec:
    """Where the original is. Paths are relative to the model's folder; `package:name/path` is inside a package."""

    format: str = ""
    path: str = ""
    factory: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    weights: str = ""
    files: tuple[str, ...] = ()
    signature: str = "serving_default"
    trust_code: bool = False


@dataclass(frozen=True)
class InputSpec:
    """An input. A string in `shape` is a named dynamic dimension; `range` bounds the generated samples [low, high)."""

    name: str
    dtype: str = ""
    shape: tuple[str | int, ...] = ()
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class OutputSpec:
    """A name for an output, in the order in which the model gives them; every answer lies in [low, high] of `range`."""

    name: str
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class SamplesSpec:
    """The inputs that parity is proved on: a file, a function, or (neither) generated ones."""

    file: str = ""
    generator: str = ""
    seed: int = 0
    dims: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class ToleranceSpec:
    """|twin - original| <= atol + rtol * |original| + of_largest * max|original| for every element of an output."""

    atol: float = 1e-4
    rtol: float = 1e-3
    of_largest: float = 0.0


@dataclass(frozen=True)
class ParitySpec:
    """How near the twin must be at each batch size; `int8` is for twins of 8 bits, `fp16` for those of fp16 and tf32.

    Rounding to 8 bits moves single values by several percent of the largest: what that costs is for [accuracy] to say.
    fp16 and tf32 both keep 10 bits: that is a thousandth of each product, and a hundredth behind many layers.
    """

    atol: float = 1e-4
    rtol: float = 1e-3
    of_largest: float = 0.0
    batch_sizes: tuple[int, ...] = ()
    stress: bool = True
    int8: ToleranceSpec = ToleranceSpec(atol=0.05, rtol=0.05, of_largest=0.1)
    fp16: ToleranceSpec = ToleranceSpec(atol=0.01, rtol=0.01, of_largest=0.01)

    def tolerance(self, precision: str) -> ToleranceSpec:
        """The tolerance for twins of a precision."""
        if precision in ("tf32", "fp16"):
            return self.fp16
        return self.int8 if precision.startswith("int8") else ToleranceSpec(self.atol, self.rtol, self.of_largest)


@dataclass(frozen=True)
class AccuracySpec:
    """What the twin may lose on data whose answers are known, or, without labels, how far it must agree.

    `file` or `generator` gives the inputs, and `labels` beside them; `items` is how many samples are compared where
    neither is given. `stated` is whether a spec has such a table at all, be it one of defaults; it is no key of it.
    """

    file: str = ""
    generator: str = ""
    metric: str = ""
    output: str = ""
    items: int = 200
    max_loss: float = 0.001
    stated: bool = True


@dataclass(frozen=True)
class SearchSpec:
    """Which candidates are tried, where, for how long, and what makes one the fastest.

    `profile` is where they are held to the gates and raced: on this machine's "cpu", or on its "gpu".
    `microbatches` are the sizes of pieces, in rows, that large batches are tried in on a CPU; without any they are
    taken whole, as they always are on a GPU.
    """

    level: str = "fast"
    profile: str = "cpu"
    budget_s: int = 900
    batch_sizes: tuple[int, ...] = (1, 10, 100)
    objective: str = "geometric_mean"
    precisions: tuple[str, ...] = ()
    microbatches: tuple[int, ...] = (2, 4, 16)


@dataclass(frozen=True)
class ExportSpec:
    """How the ONNX graph is made. `exporter` is auto, dynamo, torchscript or tf2onnx."""

    exporter: str = "auto"
    opset: int = 20
    optimise: bool = True
    external_data: bool = False


@dataclass(frozen=True)
class ModelSpec:
    """One model. `folder` is where its model.toml lies.

    `target` is the oldest Triton release that has to serve it; the default is the embedded server's.
    """

    name: str
    folder: Path
    source: SourceSpec
    description: str = ""
    target: str = "24.10"
    inputs: tuple[InputSpec, ...] = ()
    outputs: tuple[OutputSpec, ...] = ()
    samples: SamplesSpec = SamplesSpec()
    parity: ParitySpec = ParitySpec()
    accuracy: AccuracySpec = AccuracySpec(stated=False)
    search: SearchSpec = SearchSpec()
    export: ExportSpec = ExportSpec()
    serving: ServingSpec = field(default_factory=ServingSpec)

    @property
    def exporters(self) -> tuple[str, ...]:
        """The exporters to try, in order."""
        return EXPORTERS[self.source.format] if self.export.exporter == "auto" else (self.export.exporter,)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes that parity is proved at: the spec's, else 1, 2, an odd one and the maximum."""
        if self.parity.batch_sizes:
            return self.parity.batch_sizes
        largest = self.serving.most_rows
        return tuple(sorted({size for size in (1, 2, 7, largest) if size <= largest}))

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions to try: those of the spec that the profile has, else fewer bits than 32 only where [accuracy]
        says what answers are worth.
        """
        if self.search.precisions:
            return tuple(one for one in self.search.precisions if one in PRECISIONS[self.search.profile])
        if not self.accuracy.stated:
            return ("fp32",)
        return ("fp32", "int8") if self.search.profile == "cpu" else PRECISIONS["gpu"]

    @property
    def microbatches(self) -> tuple[int, ...]:
        """The sizes of pieces to try."""
        return self.search.microbatches if self.search.profile == "cpu" else ()

    @property
    def timed_sizes(self) -> tuple[int, ...]:
        """The batch sizes that candidates are timed at: the spec's, as far as the model is served with them."""
        largest = self.serving.most_rows
        return tuple(sorted({min(size, largest) for size in self.search.batch_sizes}))
