"""The errors that the checks of a request raise before anything is sent; `errors` has the tree."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import InvalidRequest, listed

__all__ = [
    "MissingInput",
    "SeveralOutputs",
    "UnknownTensor",
    "WrongDtype",
    "WrongShape",
]


class UnknownTensor(InvalidRequest):
    """Inputs or outputs were named that the model does not have. ``kind`` is "input" or "output"."""

    def __init__(self, model: str, kind: str, unknown: Sequence[str], known: Sequence[str]) -> None:
        super().__init__(f"inference on {model!r}", f"unknown {kind} {listed(unknown)}")
        self.args = (model, kind, tuple(unknown), tuple(known))
        self.model, self.kind, self.unknown, self.known = model, kind, tuple(unknown), tuple(known)

    def __str__(self) -> str:
        return f"Model {self.model!r} has no {self.kind} {listed(self.unknown)}; it has {listed(self.known)}."


class MissingInput(InvalidRequest):
    """Inputs that the model needs were not given."""

    def __init__(self, model: str, missing: Sequence[str], known: Sequence[str]) -> None:
        super().__init__(f"inference on {model!r}", f"missing input {listed(missing)}")
        self.args = (model, tuple(missing), tuple(known))
        self.model, self.missing, self.known = model, tuple(missing), tuple(known)

    def __str__(self) -> str:
        return (
            f"Model {self.model!r} needs input {listed(self.missing)}, which the request does not give; "
            f"its inputs are {listed(self.known)}: give a mapping from name to array."
        )


class SeveralOutputs(InvalidRequest):
    """`Prediction.output` was read, and the answer does not have exactly one output."""

    def __init__(self, model: str, known: Sequence[str]) -> None:
        super().__init__(f"inference on {model!r}", f"the answer has outputs {listed(known)}")
        self.args = (model, tuple(known))
        self.model, self.known = model, tuple(known)

    def __str__(self) -> str:
        return f"Model {self.model!r} answered with outputs {listed(self.known)}; take one by its name from .outputs."


class WrongDtype(InvalidRequest):
    """An input has another dtype than the model takes, or values that its dtype cannot hold."""

    def __init__(self, model: str, tensor: str, expected: str, found: str, advice: str) -> None:
        super().__init__(f"inference on {model!r}", f"input {tensor!r} is {found}, not {expected}")
        self.args = (model, tensor, expected, found, advice)
        self.model, self.tensor, self.expected, self.found, self.advice = model, tensor, expected, found, advice

    def __str__(self) -> str:
        return (
            f"Input {self.tensor!r} of model {self.model!r} takes {self.expected}, and got {self.found}; {self.advice}."
        )


class WrongShape(InvalidRequest):
    """An input has another shape than the model takes; -1 in ``expected`` stands for any size."""

    def __init__(self, model: str, tensor: str, expected: Sequence[int], found: Sequence[int], advice: str) -> None:
        super().__init__(f"inference on {model!r}", f"input {tensor!r} has shape {list(found)}, not {list(expected)}")
        self.args = (model, tensor, tuple(expected), tuple(found), advice)
        self.model, self.tensor, self.advice = model, tensor, advice
        self.expected, self.found = tuple(expected), tuple(found)

    def __str__(self) -> str:
        return (
            f"Input {self.tensor!r} of model {self.model!r} takes shape {list(self.expected)} (-1 is any size), "
            f"and got {list(self.found)}; {self.advice}."
        )
