"""A release's golden samples through a running Triton: through each twin by its version, and through the hybrid."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from python_backend.integrity import CONFIG

from ..errors import AnswersDiffer, ReleaseRefused
from ..interface import SERVED_BY
from ..proof.parity import Case, Parity, compare
from ..proof.samples import Batch
from ..release.evidence import EVIDENCE, evidence_at, tolerance_of
from ..release.golden import GOLDEN, read_golden
from ..release.pbtxt import ROLES, TWINS, read_config
from ..spec import ToleranceSpec
from ..spec.preference import asked_first
from .live import LiveServer

__all__ = ["Golden", "golden_of", "replay_hybrid", "replay_twins"]

# A server under load may refuse a request, and a hybrid that met a late twin leaves it alone for a second or two:
# neither says anything of the release. Seconds before each further attempt.
_PAUSES = (0.2, 1.5, 4.0)


@dataclass(frozen=True)
class Golden:
    """The golden samples of one release, how closely they have to be met, and which twin the hybrid asks for them."""

    case: Case
    tolerance: ToleranceSpec
    asked_first: str
    batched: bool
    dims: dict[str, int]

    def inputs(self) -> Batch:
        """The inputs as the models are announced: what is a scalar in each row has one dimension of 1."""
        return {name: self._announced(name, array) for name, array in self.case.inputs.items()}

    def _announced(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        wanted = self.dims[name] + (1 if self.batched else 0)
        return array.reshape(*array.shape, 1) if array.ndim == wanted - 1 else array

    def failures(self, answer: Batch) -> list[str]:
        """What an answer has otherwise, a sentence for each output."""
        as_made = {
            name: array.reshape(array.shape[:-1])
            if (made := self.case.expected.get(name)) is not None and array.shape == (*made.shape, 1)
            else array
            for name, array in answer.items()
        }
        return Parity(tuple(compare(self.case, as_made, self.tolerance))).failures


def golden_of(hybrid: Path) -> Golden | None:
    """What lies in the hybrid's folder of a release; None for one of before there were golden samples.

    Raises PublishError where the files cannot be read.
    """
    if not (hybrid / GOLDEN).is_file():
        return None
    case = read_golden(hybrid / GOLDEN)
    config = read_config(hybrid / CONFIG)
    batched = config.max_batch_size > 0
    with evidence_at(hybrid / EVIDENCE) as evidence:
        tolerance = tolerance_of(evidence)
    return Golden(
        case=case,
        tolerance=tolerance,
        asked_first=asked_first(config.parameters["prefer"].string_value, case.rows if batched else 1),
        batched=batched,
        dims={tensor.name: len(tensor.dims) for tensor in config.input},
    )


def replay_twins(server: LiveServer, name: str, version: int, golden: Golden) -> None:
    """Ask both twins of one version directly. Raises AnswersDiffer with all that does, ReleaseRefused."""
    for role in TWINS:
        model = f"{name}{ROLES[role]}"

        def attempt(model: str = model) -> Sequence[str]:
            return golden.failures(server.infer(model, version, golden.inputs()))

        _insist(f"{model} version {version} on {server.address}", attempt)


def replay_hybrid(server: LiveServer, name: str, version: int, golden: Golden) -> str:
    """Ask the hybrid; gives the twin that answered every row. Raises AnswersDiffer, ReleaseRefused.

    It counts as a failure when it is not the twin that the release's preference names: the other one only fell back.
    """
    what = f"{name} version {version} on {server.address}"
    answered: set[str] = set()

    def attempt() -> Sequence[str]:
        answer = dict(server.infer(name, version, golden.inputs()))
        answered.clear()
        answered.update(bytes(twin).decode() for twin in answer.pop(SERVED_BY).flat)
        wrong = golden.failures(answer)
        if not wrong and golden.asked_first and answered != {golden.asked_first}:
            raise ReleaseRefused(f"{what} was answered by {' and '.join(sorted(answered))}, not {golden.asked_first}")
        return wrong

    _insist(what, attempt)
    return " and ".join(sorted(answered))


def _insist(what: str, attempt: Callable[[], Sequence[str]]) -> None:
    """Ask until there is an answer. One with other values than the golden samples ends it at once."""
    for pause in (*_PAUSES, None):
        try:
            wrong = attempt()
        except ReleaseRefused:
            if pause is None:
                raise
            time.sleep(pause)
            continue
        if wrong:
            raise AnswersDiffer(f"{what} does not give its golden samples: {'; '.join(wrong[:3])}")
        return
