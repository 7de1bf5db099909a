"""Make the twin of one model: load the original, search for its fastest twin, prove it. Touches no repository."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import onnx

from .graphs.graph import describe, tensor_facts
from .interface import Facts
from .measuring.memory import peak_memory_mb
from .measuring.timing import Timing
from .proof.accuracy import Accuracy, Scorer, labelled
from .proof.parity import Parity
from .proof.samples import item_maker
from .proof.stress import Unfit, stress_cases
from .proof.subject import Subject, load_subject
from .release.golden import GOLDEN, golden_case, write_golden
from .release.gpu_config import padded
from .search.candidates import Trial
from .search.gates import Gates
from .search.search import Search
from .spec import ModelSpec

__all__ = ["Built", "build"]

Report = Callable[[str], None]


@dataclass(frozen=True)
class Built:
    """A twin that holds: its interface and the proof. onnx/, original/ and golden.npz lie in the work folder.

    `timings` are the chosen twin's and `original` the original's, by batch size, out of one race. `memory` is the peak
    of each in a process of its own, in MB, None where the search is off.
    """

    inputs: tuple[Facts, ...]
    outputs: tuple[Facts, ...]
    trials: tuple[dict[str, Any], ...]
    chosen: dict[str, Any]
    seconds: float
    parity: Parity
    unfit: tuple[Unfit, ...]
    accuracy: Accuracy | None
    original: dict[int, Timing]
    timings: dict[int, Timing]
    memory: dict[str, float | None]
    graph: dict[str, Any]


def build(spec: ModelSpec, work: Path, report: Report) -> Built:
    """Build the twin of `spec` in the empty folder `work`. Raises a subclass of ConversionError."""
    report("loading the original")
    subject = load_subject(spec, work)
    report(f"running the original on batches of {', '.join(map(str, spec.batch_sizes))}")
    cases = subject.cases()
    golden = golden_case(cases, subject.batched, subject.run)
    if not any(case is golden for case in cases):
        cases.append(golden)
    write_golden(golden, work / GOLDEN)
    stressed, unfit = stress_cases(subject)
    cases += stressed
    scorer = None
    if subject.batched:
        report("running the original on the data of [accuracy]")
        scorer = Scorer(spec, labelled(spec, item_maker(spec, subject.inputs), subject.inputs), subject.run)
    gates = Gates(subject, cases, scorer, work / "candidates")
    search = Search(subject, cases, gates, work / "search", report)
    winner, original = search.run()
    target = work / "onnx" / "model.onnx"
    shutil.copytree(cast(Path, winner.path).parent, target.parent)
    memory = _memory(subject, work, winner, report)
    # Weights may be 2 GB and lie beside the graph: the interface needs none of them.
    graph = onnx.load(str(target), load_external_data=False)
    return Built(
        inputs=subject.inputs,
        outputs=tuple(tensor_facts(value) for value in graph.graph.output),
        trials=tuple(trial.facts() for trial in search.trials),
        chosen=winner.facts(),
        seconds=search.seconds,
        parity=cast(Parity, winner.parity),
        unfit=tuple(unfit),
        accuracy=winner.accuracy,
        original=original,
        timings=winner.timings,
        memory=memory,
        graph=asdict(describe(onnx.load(str(target)), target)),
    )


def _memory(subject: Subject, work: Path, winner: Trial, report: Report) -> dict[str, float | None]:
    # Two more processes that load a framework, for what nothing depends on: who wants it soon does not wait for them.
    if subject.spec.search.level == "off":
        return {"original_mb": None, "twin_mb": None}
    report("measuring the memory of each")
    row, where = subject.make(1, 0), subject.profile(winner.candidate.precision, winner.operators)
    sizes = subject.spec.timed_sizes if subject.batched else (1,)
    filled = padded(winner.operators, subject.spec.serving.max_batch_size)
    measured = partial(peak_memory_mb, row=row, sizes=sizes, threads=subject.threads, where=where)
    return {
        "original_mb": measured("original", work / "original"),
        "twin_mb": measured("twin", work / "onnx" / "model.onnx", padded=filled),
    }
