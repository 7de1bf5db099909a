"""The original of one conversion: loaded from the bundle that will serve it, with its interface and its answers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np

from python_backend.original.bundle import Tensor
from python_backend.original.errors import DtypeUnknown, OriginalError
from python_backend.original.loading import Device, OriginalModel, load, tensors_of
from python_backend.strings import packed_size

from ..bundling import make_bundle
from ..dtypes import DTYPES
from ..errors import AnswersNotFinite, AnswersWaver, ArtefactError, RowsMixed, UnsupportedDtype
from ..interface import Facts, input_facts, output_names
from ..profiles import Profile, profile_for
from ..spec import ModelSpec, ParitySpec, ToleranceSpec
from ..targets import TARGETS, Target
from .parity import Case, compare, require_providers
from .rows_apart import rows_apart
from .samples import LEAST_ROWS, Batch, batch_maker

__all__ = ["Subject", "load_subject"]


_MIXED_ROWS = 7
# Every candidate answers what parity is proved on too, and it is all held in memory: rows beyond the batch sizes get no
# more than that of the original's time, and of bytes.
_FURTHER_S = 3.0
_FURTHER_BYTES = 2**28


@dataclass(frozen=True)
class Subject:
    """The original with all that is known of it. `make` gives batch `number` with so many rows.

    `model` is on the CPU, and what it answers is the truth. `raced` is on the GPU where twins are raced there, as its
    framework runs it by itself; None is `model`.
    """

    spec: ModelSpec
    model: OriginalModel
    inputs: tuple[Facts, ...]
    outputs: tuple[str, ...]
    make: Callable[[int, int], Batch]
    scratch: Path
    raced: OriginalModel | None = None

    @property
    def batched(self) -> bool:
        """Whether Triton may join requests."""
        return self.spec.serving.max_batch_size > 0

    @property
    def target(self) -> Target:
        """The Triton release that the twin is made for."""
        return TARGETS[self.spec.target]

    @property
    def threads(self) -> int:
        """Threads of original and twin alike, wherever the two are compared."""
        return self.spec.serving.original_threads

    @property
    def trace_batch(self) -> Batch:
        """What exporters trace with: one row would be taken for a constant."""
        return self.make(2 if self.batched else 1, 0)

    def profile(self, precision: str, operators: Iterable[str]) -> Profile:
        """Where a twin of that precision and those operators is held to the gates and raced."""
        return profile_for(self.spec.search.profile, self.spec.serving.gpu, precision, operators)

    def run(self, batch: Batch) -> Batch:
        """The original's answer. Raises ArtefactError where it fails."""
        return self._run(self.model, batch)

    def run_raced(self, batch: Batch) -> Batch:
        """The same where twins are raced. Raises ArtefactError where it fails."""
        return self._run(self.raced or self.model, batch)

    def _run(self, model: OriginalModel, batch: Batch) -> Batch:
        try:
            return model.run(batch)
        except OriginalError as error:
            shapes = ", ".join(f"{name}{list(array.shape)}" for name, array in batch.items())
            raise ArtefactError(f"{self.spec.name}: on {shapes}, {error}") from error

    def cases(self) -> list[Case]:
        """What parity is proved on: at each batch size, and further batches of the largest where those are few rows.

        Raises ArtefactError, AnswersWaver, AnswersNotFinite, RowsMixed.
        """
        sizes = self.spec.batch_sizes if self.batched else (1, 1)
        batches = [self.make(size, number) for number, size in enumerate(sizes)]
        cases = [Case(batch, self.run(batch)) for batch in batches]
        # With what is asked again at once: an original that is slow at that has no time left.
        end = time.monotonic() + _FURTHER_S
        self._refuse_wavering(cases[0])
        cases += self._further(cases, sizes, end)
        self._refuse_non_finite(cases)
        if self.batched:
            self._refuse_mixed_rows(cases)
        return cases

    def _further(self, cases: Sequence[Case], sizes: Sequence[int], end: float) -> list[Case]:
        """More batches, until enough rows were seen, the samples begin again, or it takes too long or too much."""
        found: list[Case] = []
        seen, size, taken = sum(sizes), max(sizes), 0
        # Sizes and samples that nobody asked for: an original that does not take them ends them, and nothing else.
        with contextlib.suppress(ArtefactError):
            while seen < LEAST_ROWS and taken < _FURTHER_BYTES and time.monotonic() < end:
                # Samples of a file are taken from the row of that number on.
                batch = self.make(size, seen)
                if any(_same(batch, case.inputs) for case in (*cases, *found)):
                    break
                found.append(Case(batch, self.run(batch)))
                taken += packed_size(batch) + packed_size(found[-1].expected)
                seen += size
        return found

    @property
    def _own_limit(self) -> ToleranceSpec:
        """How far the original may be from itself.

        Sums are made in another order for other sizes: who wants a twin without any rounding has an original with it.
        """
        usual, wanted = astuple(ParitySpec().tolerance("fp32")), astuple(self.spec.parity.tolerance("fp32"))
        return ToleranceSpec(*map(max, usual, wanted))

    def _refuse_wavering(self, case: Case) -> None:
        """Before rows are compared: where the same batch gets another answer, so does each of its rows."""
        for comparison in compare(case, self.run(case.inputs), self._own_limit):
            if comparison.failure:
                raise AnswersWaver(comparison.output, comparison.failure)

    def _refuse_non_finite(self, cases: Sequence[Case]) -> None:
        for name, value in cases[0].expected.items():
            if value.dtype.kind != "f" or name in self.spec.serving.allow_non_finite_outputs:
                continue
            # Without a batch each case is one sample.
            answers = [case.expected[name] for case in cases]
            samples = [row for answer in answers for row in (answer if self.batched and answer.ndim else [answer])]
            if count := sum(not np.isfinite(sample).all() for sample in samples):
                raise AnswersNotFinite(name, count, len(samples))

    def _refuse_mixed_rows(self, cases: Sequence[Case]) -> None:
        """Batching is only for models that treat each row alone: a batch has to give what its rows give one by one.

        Also where parity is wanted at one row only. The first row of some that mix them is right by itself, and of
        others the last one.
        """
        case = next((case for case in cases if case.rows > 1), None)
        if case is None:
            batch = self.make(min(_MIXED_ROWS, self.spec.serving.max_batch_size), 0)
            case = Case(batch, self.run(batch))
        for name, value in case.expected.items():
            if value.shape[:1] != (case.rows,):
                raise RowsMixed(name, f"has the shape {list(value.shape)} for a batch of {case.rows}")
        if case.rows == 1:
            return
        self._compare_rows(case)
        if (apart := rows_apart(self.inputs, case.inputs)) is not None:
            # Contents of ours: an original that does not take them has told nothing.
            with contextlib.suppress(ArtefactError):
                self._compare_rows(Case(apart, self.run(apart)))

    def _compare_rows(self, case: Case) -> None:
        for row in sorted({0, case.rows // 2, case.rows - 1}):
            alone, expected = case.row(row)
            for comparison in compare(Case(alone, self.run(alone)), expected, self._own_limit):
                if comparison.failure:
                    found = f"changes in row {row} with the other rows of its batch ({comparison.failure})"
                    raise RowsMixed(comparison.output, found)


def _same(batch: Batch, other: Batch) -> bool:
    return all(np.array_equal(array, other[name]) for name, array in batch.items())


def load_subject(spec: ModelSpec, work: Path) -> Subject:
    """Gather the original into `work`/original and load it from there. Raises a subclass of ConversionError."""
    where = profile_for(spec.search.profile, spec.serving.gpu)
    # Before anything is loaded, since it cannot be raced there.
    require_providers(where.providers)
    directory = work / "original"
    directory.mkdir(parents=True)
    bundle = make_bundle(spec, directory)
    device = Device(threads=spec.serving.original_threads)
    try:
        model = load(directory, device)
        inputs = input_facts(spec, model.inputs)
        make = batch_maker(spec, inputs)
        bundle = replace(bundle, inputs=tuple(fact.tensor for fact in inputs), outputs=model.outputs)
        model.inputs = bundle.inputs
        found = model.run(make(2 if spec.serving.max_batch_size else 1, 0))
    except DtypeUnknown as error:
        raise UnsupportedDtype(error.output, error.dtype, DTYPES) from error
    except OriginalError as error:
        raise ArtefactError(f"{spec.name}: {error}") from error
    names = output_names(spec, inputs, list(found))
    outputs = tuple(Tensor(name, t.dtype, t.shape) for name, t in zip(names, tensors_of(found), strict=True))
    for tensor in outputs:
        if tensor.dtype not in DTYPES:
            raise UnsupportedDtype(tensor.name, tensor.dtype, DTYPES)
    replace(bundle, outputs=outputs).write(directory)
    # Loaded again as Triton will load it: from the manifest, with the names that are served.
    model = load(directory, device)
    raced = None if where.gpu is None else load(directory, replace(device, gpu=where.gpu))
    return Subject(spec, model, inputs, names, make, work, raced)
