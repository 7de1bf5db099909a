"""The order in which candidates are made, held to the gates, and raced: what is cheap and likely to win first."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn, cast

from ..errors import AccuracyLost, ConversionError, ExportFailed, ParityBroken
from ..measuring.memory import peak_memory_mb
from ..measuring.timing import Patience, Race, Timing, race
from ..proof.accuracy import Accuracy
from ..proof.parity import Case, Parity
from ..proof.rounding import moved_by_rounding
from ..proof.samples import Batch
from ..proof.subject import Subject
from ..spec import SearchSpec
from .candidates import CHOSEN, Trial
from .fewer_bits import Workbench, eight_bits, ten_bits
from .gates import Gates
from .graphs import GraphMaker
from .microbatches import microbatch_trials, whole_or_in_pieces

__all__ = ["ORIGINAL", "Search"]

ORIGINAL = "original"
# Candidates whose first times are this much worse than the best one's do not race again.
_HOPELESS = 0.8
_FLOATS, _FINALISTS = 2, 3
# What eight bits are calibrated on beyond the largest batch: everything that a net computes of it is held at once.
_CALIBRATED_BYTES = 2**25
_QUICK = Race(least=5, most=20, seconds=2.0, attempts=2)
_FINAL = Race(least=5, most=40, seconds=10.0)
# Where nothing is chosen by it: enough to say by how much the twin is faster, and whom to ask first.
_SKETCH = Race(least=3, most=10, seconds=1.0, attempts=1)


class Search:
    """One search. `trials` holds every candidate in the order in which it was made."""

    def __init__(
        self, subject: Subject, cases: Sequence[Case], gates: Gates, folder: Path, report: Callable[[str], None]
    ) -> None:
        self.trials: list[Trial] = []
        self._subject = subject
        self._cases = cases
        self._gates = gates
        self._folder = folder
        self._report = report
        self._wanted: SearchSpec = subject.spec.search
        self._started = time.monotonic()
        self._patience = Patience()

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._started

    def run(self) -> tuple[Trial, dict[int, Timing]]:
        """The winner, and the original's times in the last race. Raises ExportFailed, Unsupported, ParityBroken, …"""
        floats = GraphMaker(self._subject, self._gates, self._report, self._in_time).make(self.trials)
        if not floats:
            self._raise_nearest()
        finalists = self._quick_race(floats)
        if self._wanted.level != "off":
            finalists += self._fewer_bits(finalists[0])
        finalists = [trial for trial in finalists if self._weighed(trial).alive] or self._left_behind(floats)
        if not finalists:
            self._raise_nearest()
        finalists = self._ranked(finalists)
        if self._wanted.level != "off" and self._subject.batched:
            finalists += self._in_pieces(finalists[0])
        return self._final_race(finalists)

    def _quick_race(self, trials: list[Trial]) -> list[Trial]:
        """The fastest few, the fastest first. Those that are left behind have been slower."""
        if len(trials) == 1:
            return trials
        self._report(f"racing {len(trials)} graphs")
        sizes = self._subject.spec.timed_sizes[:2]
        times = self._race(trials, sizes, _QUICK)
        for trial in trials:
            trial.quick = times[trial.name]
        ranked = sorted(trials, key=lambda trial: self._objective(trial.quick), reverse=True)
        best = self._objective(ranked[0].quick)
        for trial in ranked[1:]:
            share = self._objective(trial.quick) / best
            if share < _HOPELESS or ranked.index(trial) >= _FLOATS:
                trial.end("slower", f"{share:.2f} times as fast as {ranked[0].name} in the first race")
        return [trial for trial in ranked if trial.alive]

    def _left_behind(self, trials: list[Trial]) -> list[Trial]:
        """The fastest of those that the first race left behind and that is accurate enough, where no finalist is."""
        slower = [trial for trial in trials if trial.fate == "slower"]
        for trial in sorted(slower, key=lambda trial: self._objective(trial.quick), reverse=True):
            if self._weighed(trial.taken_back()).alive:
                return [trial]
        return []

    def _fewer_bits(self, best: Trial) -> list[Trial]:
        """The twins of fewer bits than 32 that hold, and are faster than the best float graph."""
        bench = Workbench(self._subject, self._gates, self._folder, self._report, self._gain, self._in_time)
        if self._wanted.profile == "gpu":
            return ten_bits(bench, self.trials, best)
        case = self._largest_case
        if "int8" in self._subject.spec.precisions and self._subject.batched:
            case = case.with_rows_of(self._plain_cases, _CALIBRATED_BYTES)
        return eight_bits(bench, self.trials, best, case)

    def _gain(self, trial: Trial, best: Trial) -> float:
        """How much faster than `best` a trial is."""
        sizes = self._subject.spec.timed_sizes[:2]
        trial.quick = self._race([best, trial], sizes, _QUICK)[trial.name]
        return self._objective(trial.quick)

    def _ranked(self, finalists: list[Trial]) -> list[Trial]:
        """The fastest few so far, the fastest first; decides the fate of the others."""
        ranked = sorted(finalists, key=self._so_far, reverse=True)
        for trial in ranked[_FINALISTS:]:
            trial.end("slower", f"behind {ranked[0].name} in the first race")
        return ranked[:_FINALISTS]

    def _in_pieces(self, whole: Trial) -> list[Trial]:
        """The twin that takes large batches in pieces, where it holds and may be as fast at the largest one."""
        largest = self._subject.spec.timed_sizes[-1]
        if not self._in_time() or not self._subject.spec.microbatches:
            return []

        def gains(trials: Sequence[Trial]) -> list[float]:
            times = self._race(trials, [largest], _QUICK)
            for trial in trials[1:]:
                trial.quick = times[trial.name]
            return [times[trial.name][largest].gain for trial in trials]

        self._report(f"taking {largest} rows in pieces")
        trials = microbatch_trials(whole, self._subject.spec.microbatches, largest, self._gates, gains)
        self.trials += trials
        return [trial for trial in trials if self._weighed(trial).alive]

    def _final_race(self, finalists: list[Trial]) -> tuple[Trial, dict[int, Timing]]:
        """Original and finalists in one run, at every batch size; decides who is chosen."""
        sizes = self._subject.spec.timed_sizes
        self._report(
            f"timing the original and {', '.join(t.name for t in finalists)} at {', '.join(map(str, sizes))} rows"
        )
        how = _SKETCH if self._wanted.level == "off" else _FINAL
        times = self._race(finalists, sizes, how, {ORIGINAL: self._subject.run_raced})
        for trial in finalists:
            trial.timings = times[trial.name]
        winner = max(finalists, key=lambda trial: self._objective(trial.timings))
        winner = whole_or_in_pieces(winner, finalists, self._share, self._megabytes)
        for trial in finalists:
            if trial is not winner:
                trial.end("slower", f"{self._share(trial, winner):.2f} times as fast as {winner.name}")
        winner.end(CHOSEN, "")
        return winner, times[ORIGINAL]

    def _megabytes(self, trial: Trial) -> float:
        subject = self._subject
        self._report(f"measuring the memory of {trial.name}")
        largest = subject.spec.timed_sizes[-1:]
        return peak_memory_mb("twin", cast(Path, trial.path), subject.make(1, 0), largest, threads=subject.threads)

    def _share(self, trial: Trial, other: Trial) -> float:
        """How many times as fast as another one it was in the last race."""
        return self._objective(trial.timings) / self._objective(other.timings)

    def _so_far(self, trial: Trial) -> float:
        """How fast it looked in the race that it ran last, against the best float graph."""
        if not trial.quick:
            return 1.0
        best = self._objective(trial.quick)
        return best if trial.candidate.precision != "fp32" else min(best, 1.0)

    def _race(
        self,
        trials: Sequence[Trial],
        sizes: Sequence[int],
        how: Race,
        beside: Mapping[str, Callable[[Batch], object]] = MappingProxyType({}),
    ) -> dict[str, dict[int, Timing]]:
        """Times by name and batch size; all are compared with the first, one of `beside` where there is any."""
        runners = {**beside, **{trial.name: self._gates.twin(trial).run for trial in trials}}
        found: dict[str, dict[int, Timing]] = {name: {} for name in runners}
        for size in sizes:
            batch = self._subject.make(size, 0)
            calls = {name: partial(run, batch) for name, run in runners.items()}
            for name, timing in race(calls, how, self._patience).items():
                found[name][size] = timing
        return found

    def _objective(self, timings: Mapping[int, Timing]) -> float:
        """What makes a candidate the fastest: the spec's view of its gains at all batch sizes."""
        ratios = [timing.gain for timing in timings.values()]
        if self._wanted.objective == "worst":
            return min(ratios)
        return statistics.geometric_mean(ratios)

    @property
    def _plain_cases(self) -> list[Case]:
        return [case for case in self._cases if not case.stress]

    @property
    def _largest_case(self) -> Case:
        return max(self._plain_cases, key=lambda case: case.rows)

    def _weighed(self, trial: Trial) -> Trial:
        if trial.alive and trial.accuracy is None:
            self._report(f"measuring the accuracy of {trial.name}")
        return self._gates.weigh(trial)

    def _in_time(self) -> bool:
        return self.seconds < self._wanted.budget_s

    def _added(self, trial: Trial) -> Trial:
        self.trials.append(trial)
        return trial

    def _raise_nearest(self) -> NoReturn:
        """No candidate is left: tell which one came nearest, and what stopped it."""
        name = self._subject.spec.name
        proved = [trial for trial in self.trials if trial.fate == "parity" and trial.parity is not None]
        weighed = [trial for trial in self.trials if trial.accuracy is not None]
        refused = [trial.error for trial in self.trials if isinstance(trial.error, ConversionError)]
        unmeasured = [trial.error for trial in self.trials if trial.parity is not None and trial.error is not None]
        if weighed:
            nearest = min(weighed, key=lambda trial: cast(Accuracy, trial.accuracy).loss)
            raise AccuracyLost(name, nearest.name, nearest.reason)
        if unmeasured:
            raise unmeasured[-1]
        if proved:
            nearest = min(proved, key=lambda trial: cast(Parity, trial.parity).worst)
            rounding = moved_by_rounding(self._subject, self._largest_case)
            parity = cast(Parity, nearest.parity)
            raise ParityBroken(name, parity.failures, nearest.name, rounding, self._gates.by_size(parity))
        if refused:
            raise refused[-1]
        raise ExportFailed(name, [(trial.name, trial.reason) for trial in self.trials])
