"""Does the twin give what the original gives? Names, dtypes, shapes, values, in this order, all failures at once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from python_backend.onnxruntime.cuda import load_libraries
from python_backend.onnxruntime.cuda_graph import OPTION
from python_backend.onnxruntime.padding import PaddedRows
from python_backend.onnxruntime.runner import Run
from python_backend.onnxruntime.session import options_of
from python_backend.onnxruntime.sized import SizedSessions
from python_backend.tolerance import differences

from ..errors import ProviderMissing
from ..profiles import CPU, CUDA, ON_CPU, Provider
from ..spec import ToleranceSpec
from .samples import Batch

__all__ = ["Case", "Comparison", "Parity", "Twin", "compare", "prove", "require_providers"]


@dataclass(frozen=True)
class Case:
    """One batch of inputs and what the original answered. `stress` names a kind of input that no sample is of."""

    inputs: Batch
    expected: Batch
    stress: str = ""

    @property
    def rows(self) -> int:
        """The number of rows, 1 for a scalar."""
        first = next(iter(self.inputs.values()))
        return len(first) if first.ndim else 1

    def row(self, number: int) -> tuple[Batch, Batch]:
        """One row of the inputs, and what was answered to it: as a batch of one each."""
        inputs, expected = (
            {name: array[number : number + 1] for name, array in batch.items()}
            for batch in (self.inputs, self.expected)
        )
        return inputs, expected

    def with_rows_of(self, others: Iterable[Case], most_bytes: float) -> Case:
        """All rows of this batch, and of `others` that are of its shapes, up to `most_bytes` of inputs."""
        alike, taken = [self], _bytes(self)
        for other in others:
            if other is not self and _row_shapes(other) == _row_shapes(self) and taken + _bytes(other) <= most_bytes:
                alike.append(other)
                taken += _bytes(other)
        return Case(
            {name: np.concatenate([case.inputs[name] for case in alike]) for name in self.inputs},
            {name: np.concatenate([case.expected[name] for case in alike]) for name in self.expected},
        )

    @property
    def shapes(self) -> str:
        """The shape of each input."""
        return ", ".join(f"{name}{list(array.shape)}" for name, array in self.inputs.items())

    @property
    def label(self) -> str:
        """How a report calls the case: what stress it is, and the shape of each input."""
        return f"{self.stress}: {self.shapes}" if self.stress else self.shapes


def _bytes(case: Case) -> int:
    return sum(array.nbytes for array in case.inputs.values())


def _row_shapes(case: Case) -> list[tuple[int, ...]]:
    return [array.shape[1:] for batch in (case.inputs, case.expected) for array in batch.values()]


@dataclass(frozen=True)
class Comparison:
    """One output in one case. `worst` is the largest |a-b| over what the tolerance allows there: above 1 is a failure.

    `max_abs` and `max_rel` are the largest absolute difference, and the largest relative to |b| + atol; all are None
    where values could not be compared. `failure` is None where the output holds.
    """

    case: str
    rows: int
    output: str
    max_abs: float | None = None
    max_rel: float | None = None
    worst: float | None = None
    failure: str | None = None

    @property
    def used(self) -> float:
        """The share of the tolerance that was used; infinite where it fails for what no share tells: NaN, a shape."""
        if self.failure and (self.worst is None or self.worst <= 1):
            return math.inf
        return self.worst or 0.0


@dataclass(frozen=True)
class Parity:
    """All comparisons of one twin."""

    comparisons: tuple[Comparison, ...]

    @property
    def failures(self) -> list[str]:
        """One sentence for each output that does not hold."""
        return [f"output '{c.output}' at {c.case}: {c.failure}" for c in self.comparisons if c.failure]

    @property
    def worst(self) -> float:
        """The largest share of the tolerance that any output used; infinite where one could not be compared."""
        return max(comparison.used for comparison in self.comparisons)

    def by_output(self) -> dict[str, dict[str, float | None]]:
        """For each output the largest differences over all cases; `worst` is the share of the tolerance used.

        None where no case has one to tell; `worst` also where an output fails in a case for what no share tells.
        """
        outputs: dict[str, list[Comparison]] = {}
        for comparison in self.comparisons:
            outputs.setdefault(comparison.output, []).append(comparison)
        return {
            name: {
                "max_abs": max((c.max_abs for c in found if c.max_abs is not None), default=None),
                "max_rel": max((c.max_rel for c in found if c.max_rel is not None), default=None),
                "worst": worst if math.isfinite(worst := max(c.used for c in found)) else None,
            }
            for name, found in outputs.items()
        }


class Twin:
    """An ONNX graph in ONNX Runtime, as Triton will run it: on the CPU unless other providers are named.

    `sizes` are what batches are filled up to where CUDA runs it, as the stand-in does; elsewhere they run as they come.
    `declared` is the shape of each output as the graph says it, dynamic dimensions by their names or None.
    `nodes` counts, by provider, the nodes that each took, where one besides the CPU was asked for. Raises
    ProviderMissing where one of them does not come up, or the first gets no node: ONNX Runtime would quietly take the
    next.
    """

    def __init__(
        self,
        model: onnx.ModelProto | str,
        threads: int,
        providers: Sequence[Provider] = ON_CPU.providers,
        sizes: Sequence[int] = (),
    ) -> None:
        import onnxruntime

        names = [name for name, _ in providers]
        require_providers(providers)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # As it is served: with batches of many sizes, plans of memory for each of them add up.
        options.enable_mem_pattern = False
        # Threads that still spin for work would take processors from whatever is timed next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if names != [CPU]:
            load_libraries()
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")

        def open_session(graphs: bool = False) -> Any:
            content = model if isinstance(model, str) else model.SerializeToString()
            asked = [(name, options_of(chosen, graphs=graphs)) for name, chosen in providers]
            opened = onnxruntime.InferenceSession(content, options, providers=asked)
            _require(names, opened.get_providers())
            # A run that fails would be tried again with other providers, and from then on be measured there.
            opened.disable_fallback()
            return opened

        session = open_session()
        self.nodes: Counter[str] = Counter()
        if names != [CPU]:
            for part in session.get_provider_graph_assignment_info():
                self.nodes[part.ep_name] += len(part.get_nodes())
            _require(names[:1], list(self.nodes))
        self._outputs = [output.name for output in session.get_outputs()]
        # What is declared is served: the hybrid refuses an answer of another shape.
        self.declared: dict[str, list[int | str | None]] = {o.name: o.shape for o in session.get_outputs()}
        self._run: Run = session.run
        if sizes and names[0] == CUDA:
            graphs = providers[0][1].get(OPTION) == "1"
            sessions = SizedSessions(open_session, lambda opened: opened.run, graphs=graphs)
            self._run = PaddedRows(session.run, sizes, sessions.open)

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> Batch:
        """Compute all outputs of one batch."""
        return dict(zip(self._outputs, self._run(self._outputs, dict(arrays)), strict=True))


def require_providers(providers: Sequence[Provider]) -> None:
    """Raise ProviderMissing where the installed ONNX Runtime was built without one of them."""
    import onnxruntime

    _require([name for name, _ in providers], onnxruntime.get_available_providers())


def _require(wanted: Sequence[str], found: Sequence[str]) -> None:
    for name in wanted:
        if name not in found:
            raise ProviderMissing(name, [other for other in found if other in (*wanted, CPU)] or [CPU])


def prove(twin: Twin, cases: Sequence[Case], tolerance: ToleranceSpec) -> Parity:
    """Compare the twin with the original in every case, and with what its own graph declares."""
    found: list[Comparison] = []
    for case in cases:
        try:
            answer = twin.run(case.inputs)
        # ONNX Runtime's classes come from C++ and share no base but Exception.
        except Exception as error:  # noqa: BLE001
            cause = f"the twin failed: {str(error).splitlines()[0]}"
            found += [Comparison(case.label, case.rows, name, failure=cause) for name in case.expected]
            continue
        found += [_as_declared(one, answer, twin.declared) for one in compare(case, answer, tolerance)]
    return Parity(tuple(found))


def compare(case: Case, answer: Batch, tolerance: ToleranceSpec) -> list[Comparison]:
    """Compare one answer of the twin with the original's."""
    found = [
        Comparison(case.label, case.rows, name, failure="the original has no such output")
        for name in answer.keys() - case.expected.keys()
    ]
    for name, expected in case.expected.items():
        if name not in answer:
            found.append(Comparison(case.label, case.rows, name, failure="the twin has no such output"))
        else:
            found.append(_compare_values(case, name, answer[name], expected, tolerance))
    return found


def _as_declared(
    comparison: Comparison, answer: Batch, declared: Mapping[str, Sequence[int | str | None]]
) -> Comparison:
    """The same, or a failure where values hold and their shape is not the one that would be published."""
    if comparison.failure:
        return comparison
    sizes, shape = declared[comparison.output], answer[comparison.output].shape
    if len(sizes) == len(shape) and all(s == n or not isinstance(s, int) for s, n in zip(sizes, shape, strict=True)):
        return comparison
    told = ", ".join(str(size) if isinstance(size, int) else "any" for size in sizes)
    return replace(comparison, failure=f"shape {list(shape)}, and the graph declares [{told}]")


def _compare_values(
    case: Case, name: str, got: NDArray[Any], expected: NDArray[Any], tolerance: ToleranceSpec
) -> Comparison:
    strings = got.dtype.kind in "OSU" and expected.dtype.kind in "OSU"
    if got.dtype != expected.dtype and not strings:
        return Comparison(case.label, case.rows, name, failure=f"dtype {got.dtype}, expected {expected.dtype}")
    if got.shape != expected.shape:
        failure = f"shape {list(got.shape)}, expected {list(expected.shape)}"
        return Comparison(case.label, case.rows, name, failure=failure)
    numbers, too_far = differences(
        got, expected, atol=tolerance.atol, rtol=tolerance.rtol, of_largest=tolerance.of_largest
    )
    return Comparison(case.label, case.rows, name, *numbers, failure=too_far)
