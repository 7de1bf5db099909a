"""The model cannot be converted, or its twin does not hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from .base import ConversionError


class ArtefactError(ConversionError):
    """The model's own files: missing, unreadable, of wrong weights, or with a factory that raises."""

    exit_code = 4


class ExportFailed(ConversionError):
    """Every exporter failed; the sentence names each with its reason."""

    exit_code = 5

    def __init__(self, name: str, attempts: Sequence[tuple[str, str]]) -> None:
        told = "; ".join(f"{exporter}: {cause}" for exporter, cause in attempts)
        super().__init__(f"{name} could not be exported to ONNX ({told})")


class Unsupported(ConversionError):
    """The graph is valid, but cannot be served as the spec asks."""

    exit_code = 6


class UnsupportedDtype(Unsupported):
    """A dtype that Triton's ONNX Runtime backend does not take."""

    def __init__(self, tensor: str, dtype: str, known: Iterable[str]) -> None:
        super().__init__(
            f"tensor '{tensor}' has dtype {dtype}, which Triton's ONNX Runtime backend cannot serve; "
            f"use one of {', '.join(known)}"
        )


class FixedDimension(Unsupported):
    """A dimension that must be dynamic is a number in the artefact, or came out of the export as one."""

    def __init__(self, tensor: str, dimension: str, found: Sequence[object]) -> None:
        shape = ", ".join(str(size) for size in found)
        super().__init__(
            f"dimension '{dimension}' of tensor '{tensor}' is fixed, [{shape}], and must be dynamic; "
            "make the model accept any size there"
            + (", or set max_batch_size = 0 in [serving] to serve it unbatched" if dimension == "batch" else "")
        )


class RowsMixed(Unsupported):
    """A row of an output depends on more than its own row of the inputs, so that batching would change answers."""

    def __init__(self, output: str, how: str) -> None:
        super().__init__(
            f"output '{output}' {how}: requests that Triton batches would change each other's answers; "
            "make each row depend on its own input alone, or set max_batch_size = 0 in [serving]"
        )


class AnswersWaver(Unsupported):
    """The original answers the same input differently each time, so that nothing can be proved of a twin."""

    def __init__(self, output: str, how: str) -> None:
        super().__init__(
            f"the original answers the same input differently in output '{output}' ({how}): dropout, randomness or "
            "state; switch training off, take random numbers as an input, and keep nothing from one call to the next"
        )


class AnswersNotFinite(Unsupported):
    """An output holds NaN or infinity where the spec does not allow it: the hybrid would never hand on the twin's."""

    def __init__(self, output: str, count: int, samples: int) -> None:
        super().__init__(
            f"output '{output}' holds NaN or infinity for {count} of {samples} samples, which the hybrid takes for a "
            "broken twin; look at the weights, give valid inputs by range or [samples], or list the output in "
            "allow_non_finite_outputs of [serving]"
        )


class UnsupportedGraph(Unsupported):
    """Operators, opset or IR that the target server's ONNX Runtime cannot read."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the graph cannot be served: {what}")


class NameMismatch(Unsupported):
    """The spec names tensors that the model does not have."""

    def __init__(self, kind: str, named: Iterable[str], found: Iterable[str], *, place: str = "") -> None:
        super().__init__(
            f"model.toml names the {kind} {', '.join(named)}{place}, but the model has {', '.join(found)}; "
            "correct the names or leave them out"
        )


class NameTaken(Unsupported):
    """An output has a name that it cannot be served by."""

    def __init__(self, output: str, why: str) -> None:
        super().__init__(f"output '{output}' {why}; name it otherwise in [[outputs]]")


class OutputsCollide(Unsupported):
    """Several outputs of the model have one name, so that only one of them could be asked for."""

    def __init__(self, given: int, told: Sequence[str]) -> None:
        super().__init__(
            f"the model gives {given} outputs, and their names tell only {', '.join(told)} apart; "
            "give each a name of its own in what the model returns"
        )


class BranchBaked(Unsupported):
    """Python in the model decides by the values of an input, and a trace keeps one side of that for good."""

    def __init__(self, place: str) -> None:
        super().__init__(
            f"the model takes a number or a decision out of the values of its inputs at {place}, and a graph would "
            "keep that of the traced ones; write it with torch.where or torch.cond, or take it out"
        )


class ParityBroken(ConversionError):
    """No candidate's outputs are within the tolerance of the original's; tells of the one that came nearest.

    `rounding` is how far the original's own answers move when its inputs change in their last bit. `by_size` is whether
    it fails in sizes of dynamic dimensions alone that no sample has.
    """

    exit_code = 7

    def __init__(
        self, name: str, failures: Sequence[str], candidate: str, rounding: float, by_size: bool = False
    ) -> None:
        shown = "; ".join(failures[:6]) + (f"; and {len(failures) - 6} more" if len(failures) > 6 else "")
        super().__init__(
            f"no ONNX twin of {name} matches the original, nothing was published; {candidate} came nearest: {shown}; "
            f"the original's own answers move by {rounding:.2g} when its inputs change in their last bit: where the "
            "tolerance is of that order, widen it by [parity] atol"
            + (
                "; it holds at the sizes of the samples: let the model compute the same at every size, or refuse with "
                "an error a size that no caller sends, or give in [[inputs]] that dimension as a number, and one name "
                "to dimensions that are always of one size"
                if by_size
                else ""
            )
        )


class AccuracyLost(ConversionError):
    """Candidates match within the tolerance, but lose more accuracy than the spec allows."""

    exit_code = 7

    def __init__(self, name: str, candidate: str, loss: str) -> None:
        super().__init__(
            f"no ONNX twin of {name} is accurate enough, nothing was published; {candidate} came nearest: {loss}"
        )


class BrokenOnnx(ConversionError):
    """A file that is not a valid ONNX model."""

    exit_code = 8

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"{path} is not a valid ONNX model: {cause}")


class MeasuringFailed(ConversionError):
    """The process that measured a model's memory ended with an error."""

    exit_code = 10

    def __init__(self, kind: str, code: int, output: str) -> None:
        last = output.strip().splitlines()[-1] if output.strip() else "no output"
        super().__init__(f"the process that measured the memory of the {kind} ended with {code}: {last}")


class WorkerDied(ConversionError):
    """The converting process ended without an answer."""

    exit_code = 10

    def __init__(self, name: str, how: str, log: Path) -> None:
        super().__init__(f"the process that converted {name} {how}; its output is in {log}")


class ProviderMissing(ConversionError):
    """ONNX Runtime does not run a graph on the execution provider that was asked for."""

    exit_code = 6

    def __init__(self, wanted: str, found: Sequence[str]) -> None:
        super().__init__(
            f"ONNX Runtime runs the twin on {', '.join(found)} instead of {wanted}; install an ONNX Runtime with that "
            "provider and what it needs, and look into its log"
        )
