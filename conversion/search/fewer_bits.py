"""Twins of the best float graph with fewer bits than 32: 8 of them on a CPU, and 10 of each product on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import onnx

from python_backend.original.errors import first_line

from ..graphs.optimise import STEM
from ..proof.parity import Case
from ..proof.subject import Subject
from .candidates import Trial
from .gates import Gates
from .half import to_half
from .int8 import Int8Search
from .quantise import multiplying_share, quantise_dynamic

__all__ = ["Workbench", "eight_bits", "ten_bits"]

# Below this part of all weights, dynamic quantisation has nothing to gain from.
_MOSTLY_MATRICES = 0.5


@dataclass(frozen=True)
class Workbench:
    """What it takes to make and to measure them. `gain` is how many times as fast as the second a first trial is."""

    subject: Subject
    gates: Gates
    folder: Path
    report: Callable[[str], None]
    gain: Callable[[Trial, Trial], float]
    in_time: Callable[[], bool]


def eight_bits(bench: Workbench, trials: list[Trial], best: Trial, case: Case) -> list[Trial]:
    """The eight-bit twins that hold and are faster than `best`; all that were made are added to `trials`.

    Ranges are computed from the rows of `case`.
    """
    assert best.path is not None
    found = []
    if "int8" in bench.subject.spec.precisions:
        found += _static(bench, trials, best, best, case)
        stem = (*best.candidate.rewrites, STEM)
        folded = [trial for trial in trials if trial.path and trial.candidate == replace(best.candidate, rewrites=stem)]
        # What one layout loses by eight bits the other loses as well.
        if folded and any(trial.alive for trial in found):
            found += _static(bench, trials, folded[0], best, case)
    matrices = multiplying_share(onnx.load(best.path, load_external_data=False))
    wanted = "int8_dynamic" in bench.subject.spec.precisions
    if wanted and matrices >= _MOSTLY_MATRICES and bench.in_time():
        found.append(_dynamic(bench, best))
        trials.append(found[-1])
    return [trial for trial in found if trial.alive]


def ten_bits(bench: Workbench, trials: list[Trial], best: Trial) -> list[Trial]:
    """`best` on a GPU that may round products to TF32, and in half precision; those that hold. All go to `trials`."""
    assert best.path is not None
    found = []
    for precision, change in (("tf32", onnx.load), ("fp16", to_half)):
        if precision not in bench.subject.spec.precisions or not bench.in_time():
            continue
        bench.report(f"trying {best.name} in {precision}")
        trial = best.quantised(precision)
        trials.append(trial)
        try:
            graph = change(best.path)
        # The converter has no error base class: anything means that it cannot.
        except Exception as error:  # noqa: BLE001
            trial.end("failed", first_line(error))
        else:
            if bench.gates.admit(trial, graph).alive:
                bench.gain(trial, best)
        _tell(bench, trial)
        found.append(trial)
    return [trial for trial in found if trial.alive]


def _static(bench: Workbench, trials: list[Trial], base: Trial, best: Trial, case: Case) -> list[Trial]:
    """Eight-bit twins of `base`, each with its fate decided where it does not hold, or is no faster than `best`."""
    found: list[Trial] = []
    if not bench.in_time():
        return found
    bench.report(f"quantising {base.name}")
    search = Int8Search(bench.gates, base, case, bench.folder / f"int8-{len(trials)}", rival=best.name)
    thorough = bench.subject.spec.search.level == "full"
    for trial in search.trials(lambda trial: bench.gain(trial, best), bench.in_time, thorough=thorough):
        trials.append(trial)
        _tell(bench, trial)
        found.append(trial)
    return found


def _dynamic(bench: Workbench, best: Trial) -> Trial:
    trial = best.quantised("int8_dynamic")
    target = bench.folder / "dynamic.onnx"
    try:
        quantise_dynamic(cast(Path, best.path), target)
        graph = onnx.load(target)
    # The quantiser has no error base class: anything means that it cannot.
    except Exception as error:  # noqa: BLE001
        return trial.end("failed", first_line(error))
    if bench.gates.admit(trial, graph).alive and (gain := bench.gain(trial, best)) < 1:
        trial.end("slower", f"{gain:.2f} times as fast as {best.name}")
    return trial


def _tell(bench: Workbench, trial: Trial) -> None:
    bench.report(f"{trial.name}: {trial.fate or 'holds so far'} {trial.reason}".rstrip())
